"""`rpi-health publish-test`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import IO, TYPE_CHECKING, Any

import click

from rpi_health import errors, example
from rpi_health.cli import settings

if TYPE_CHECKING:
    from rpi_health.broker import Outcome
    from rpi_health.config import Config

_QUIET_S = 1.0


def _read_changes(_ctx: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    changes = {}
    for value in values:
        key, separator, text = value.partition("=")
        try:
            if not (key and separator):
                raise ValueError("there is no = in it")
            changes[key] = json.loads(text)
        except ValueError as error:
            hint = "KEY=JSON, for example cpu_percent=99.5 or 'cpu_temp=\"81°C\"' (text in double quotes)"
            raise click.BadParameter(f"{value!r}: {error}. Give {hint}.") from error
    return changes


@click.command("publish-test")
@click.option("--id", "device_id", default="raspberry-01", show_default=True, metavar="ID", help="Device to report as.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="Messages in all.  [default: one a device]")
@click.option("--devices", type=click.IntRange(min=1), default=1, metavar="N", help="Devices, numbered from --id on.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), metavar="PER_SECOND", help="Messages a second.")
@click.option(
    "--set", "changes", multiple=True, metavar="KEY=JSON", callback=_read_changes, help="Set a key; repeatable."
)
@click.option(
    "--file", "source", type=click.File("rb"), metavar="PATH|-", help="Send these bodies instead, a line each."
)
@settings.setting_options
@click.pass_context
def command(
    ctx: click.Context,
    device_id: str,
    count: int | None,
    devices: int,
    rate: float | None,
    changes: dict[str, Any],
    source: IO[bytes] | None,
) -> None:
    """Publish the example report, and wait until the broker has confirmed it."""
    config = settings.load(ctx)
    if source is None:
        bodies: Iterable[bytes] = example.bodies(device_id, devices, count or devices, changes)
        total = count or devices
    else:
        bodies = _bodies_of(source.read())
        total = len(bodies)
    started = time.monotonic()
    outcome = _publish(config, bodies, total, rate)
    elapsed_s = time.monotonic() - started
    click.echo(f"{outcome.confirmed} of {total} confirmed by the broker in {elapsed_s:.1f} s.", err=True)
    if outcome.error is not None:
        raise outcome.error
    if outcome.confirmed < total:
        raise errors.BrokerUnavailable(f"{total - outcome.confirmed} messages were not confirmed. Publish them again.")


def _bodies_of(content: bytes) -> list[bytes]:
    """One JSON document is one body, however many lines it has; otherwise each line is one, sent as it is."""
    try:
        json.loads(content)
    except ValueError:
        return [line for line in content.splitlines() if line.strip()]
    return [content]


def _publish(config: Config, bodies: Iterable[bytes], total: int, rate: float | None) -> Outcome:
    from rich.console import Console
    from rich.progress import Progress

    from rpi_health import app
    from rpi_health.broker import Outgoing
    from rpi_health.delivery import Properties

    properties = Properties(content_type="application/json")
    messages = (Outgoing(body, properties) for body in bodies)
    started = time.monotonic()
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("Publishing", total=total, visible=False)

        def advance(confirmed: int) -> None:
            # A bar that only flashes by is noise.
            progress.update(task, advance=confirmed, visible=time.monotonic() - started > _QUIET_S)

        return app.publish(config, messages, per_second=rate, on_confirmed=advance)
