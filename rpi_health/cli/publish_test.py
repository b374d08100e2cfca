"""`rpi-health publish-test`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import IO, TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from rpi_health import errors, example
from rpi_health.cli import settings
from rpi_health.cli.progress import progress_bar

if TYPE_CHECKING:
    from rpi_health.broker import Outcome
    from rpi_health.config import Config

_EXAMPLE = "cpu_percent=99.5 or 'cpu_temp=\"81°C\"'"


def _read_changes(_ctx: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    return dict(map(_read_change, values))


def _read_change(value: str) -> tuple[str, Any]:
    key, separator, text = value.partition("=")
    if not (key and separator):
        raise click.BadParameter(f"{value!r} is not KEY=JSON, such as {_EXAMPLE}.")
    try:
        return key, json.loads(text)
    except (ValueError, RecursionError) as error:
        problem = f"what follows {key}= is not JSON ({error})"
        raise click.BadParameter(f"{problem}. Text stands in double quotes: {_EXAMPLE}.") from error


@click.command("publish-test")
@click.option("--id", "device_id", default="raspberry-01", show_default=True, metavar="ID", help="Device to report as.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="Messages in all; by default one a device.")
@click.option("--devices", type=click.IntRange(min=1), default=1, metavar="N", help="Devices, numbered from --id on.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), metavar="PER_SECOND", help="Messages a second.")
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=JSON",
    callback=_read_changes,
    help=f"Report this value, such as {_EXAMPLE}; repeatable.",
)
@click.option(
    "--file",
    "source",
    type=click.File("rb"),
    metavar="PATH|-",
    help="Send what is in this file instead, as it is: one JSON document, or a body a line.",
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
    """Publish example reports, confirmed by the broker.

    The exit status is 0 when the broker has taken responsibility for every message.
    """
    config = settings.load(ctx)
    if source is None:
        total = count or devices
        bodies: Iterable[bytes] = example.bodies(device_id, devices, total, changes)
    else:
        _refuse_beside_file(ctx)
        bodies = _bodies_of(source.read())
        total = len(bodies)
    outcome, elapsed_s = _publish(config, bodies, total, rate)
    click.echo(f"{outcome.confirmed} of {total} confirmed by the broker in {elapsed_s:.1f} s.", err=True)
    if outcome.error is not None:
        raise outcome.error
    if outcome.confirmed < total:
        raise errors.BrokerUnavailable(f"Not confirmed: {total - outcome.confirmed} of {total}. Publish them again.")


def _refuse_beside_file(ctx: click.Context) -> None:
    for parameter in ctx.command.params:
        given = parameter.name and ctx.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
        if given and parameter.name in ("device_id", "count", "devices", "changes"):
            raise click.UsageError(f"--file sends what is in the file as it is: leave out {parameter.opts[0]}.")


def _bodies_of(content: bytes) -> list[bytes]:
    """One JSON document is one body, however many lines it has; otherwise each line is one, sent as it is."""
    try:
        json.loads(content)
    except (ValueError, RecursionError):
        bodies = [line for line in content.splitlines() if line.strip()]
    else:
        bodies = [content]
    if not bodies:
        raise click.BadParameter("there is nothing in it to send.", param_hint="'--file'")
    return bodies


def _publish(config: Config, bodies: Iterable[bytes], total: int, rate: float | None) -> tuple[Outcome, float]:
    """Publish under a progress bar. Returns what became of it, and how long it took in seconds."""
    from rpi_health import app
    from rpi_health.broker import Outgoing
    from rpi_health.delivery import Properties

    properties = Properties(content_type="application/json")
    messages = (Outgoing(body, properties) for body in bodies)
    with progress_bar("Publishing", total) as advance:
        started = time.monotonic()
        outcome = app.publish(config, messages, per_second=rate, on_confirmed=advance)
        return outcome, time.monotonic() - started
