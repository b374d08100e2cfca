"""`rpi-health status`."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import click

from rpi_health.cli import settings, times
from rpi_health.cli.output import csv_lines, forgive_encoding, json_array
from rpi_health.device import SORTS, STATUS_COLUMNS, Device, Selection
from rpi_health.hearing import STATES
from rpi_health.presence import Overview

if TYPE_CHECKING:
    from rich.console import RenderableType

    from rpi_health.config import Config

#: Lines of the terminal that are no devices: the heading, and what is below the table.
_OTHER_LINES = 9

_EMPTY = """\
No device has reported yet. Next:
  rpi-health publish-test --id raspberry-01    sends an example report
  rpi-health consume                           takes reports into the database"""


@contextmanager
def _uncollected() -> Iterator[None]:
    """Have Python look for no garbage in cycles: a fleet has none, and to look took a quarter of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # nor at the exit
        gc.enable()


def _columns(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> list[str] | None:
    if value is None:
        return None
    names = [name.strip() for name in value.split(",")]
    unknown = next((name for name in names if name not in STATUS_COLUMNS), None)
    if unknown is not None:
        raise click.BadParameter(f"{unknown!r} is none of {', '.join(STATUS_COLUMNS)}.")
    return names


@click.command("status")
@click.option("--id", "ids", metavar="GLOB", help="Only devices with such an id: * is any text, ? any character.")
@click.option(
    "--state",
    "states",
    metavar="STATE",
    type=click.Choice(STATES),
    multiple=True,
    help="Only devices that are online, late or offline; repeatable.",
)
@click.option(
    "--sort",
    metavar="ORDER",
    type=click.Choice(SORTS),
    default="state",
    show_default=True,
    help=f"The greatest value first: {', '.join(SORTS)}.",
)
@click.option("--reverse", is_flag=True, help="The other way round.")
@click.option("--limit", metavar="N", type=click.IntRange(1), help="At most N devices.")
@click.option("--columns", "names", metavar="NAME,…", callback=_columns, help=f"Of {', '.join(STATUS_COLUMNS)}.")
@click.option(
    "--watch",
    "every_s",
    metavar="[SECONDS]",
    is_flag=False,
    flag_value="2",
    callback=times.period_s,
    help="Stay, and draw it again every 2 seconds.",
)
@click.option("--json", "form", flag_value="json", help="One JSON array: units in the keys, times in UTC.")
@click.option("--csv", "form", flag_value="csv", help="Comma-separated values, under the same names.")
@settings.setting_options
@click.pass_context
@_uncollected()
def command(
    ctx: click.Context,
    ids: str | None,
    states: tuple[str, ...],
    sort: str,
    reverse: bool,
    limit: int | None,
    names: list[str] | None,
    every_s: float | None,
    form: str | None,
) -> None:
    """Show the fleet, devices with trouble first.

    A device is late when nothing was heard of it for 2 of its intervals, and offline after 5. While no consumer
    listens, states are as of the last moment when one did.
    """
    config = settings.load(ctx)
    from rpi_health import app

    selection = Selection(ids, states, sort, reverse, limit)
    if every_s is not None:
        if form is not None:
            raise click.UsageError(f"--watch and --{form} do not go together.")
        if not sys.stdout.isatty():
            raise click.UsageError("--watch needs a terminal, which stdout is not.")
        _watch(config, selection, names, every_s)
        return
    devices, overview = app.devices(config, selection)
    if form == "json":
        click.echo(json_array(map(vars, devices)))  # the fields as they are: asdict would copy each value
    elif form == "csv":
        fields = list(Device.__dataclass_fields__)
        click.echo(csv_lines(fields, (list(vars(device).values()) for device in devices)), nl=False)
    elif any(overview.counts.values()):
        _show(devices, overview, names)
    else:
        click.echo(_EMPTY, err=True)


def _show(devices: list[Device], overview: Overview, names: Sequence[str] | None) -> None:
    from rich.console import Console

    from rpi_health import render

    forgive_encoding()
    now = datetime.now(timezone.utc)
    console = Console()
    console.print(render.fleet(devices, now, console, names), crop=False)
    console.print()
    console.print(render.summary(len(devices), now, overview))


def _watch(config: Config, selection: Selection, names: Sequence[str] | None, every_s: float) -> None:
    from rich.console import Console, Group

    from rpi_health import app, render
    from rpi_health.cli.watch import watch

    forgive_encoding()
    console = Console()
    before: dict[str, Device] | None = None

    def draw() -> RenderableType:
        nonlocal before
        room = max(1, console.height - _OTHER_LINES)
        limit = room if selection.limit is None else min(room, selection.limit)
        devices, overview = app.devices(config, selection._replace(limit=limit))
        if not any(overview.counts.values()):
            return _EMPTY
        now = datetime.now(timezone.utc)
        table = render.fleet(devices, now, console, names, before)
        before = {device.raspberry_id: device for device in devices}
        return Group(table, "", render.summary(len(devices), now, overview))

    watch(console, draw, every_s)
