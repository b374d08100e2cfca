"""`rpi-health status`."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import click

from rpi_health.cli import settings
from rpi_health.cli.output import forgive_encoding, json_array

if TYPE_CHECKING:
    from rpi_health.device import Device

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


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="One JSON array: units in the keys, times in UTC.")
@settings.setting_options
@click.pass_context
@_uncollected()
def command(ctx: click.Context, as_json: bool) -> None:
    """Show the fleet, the device heard of last first."""
    config = settings.load(ctx)
    from rpi_health import app

    devices = app.devices(config)
    if as_json:
        click.echo(json_array(map(vars, devices)))  # the fields as they are: asdict would copy each value
    elif devices:
        _show(devices)
    else:
        click.echo(_EMPTY, err=True)


def _show(devices: list[Device]) -> None:
    from rich.console import Console

    from rpi_health import render

    forgive_encoding()
    now = datetime.now(timezone.utc)
    console = Console()
    console.print(render.fleet(devices, now, console), crop=False)
    console.print()
    console.print(render.summary(devices, now))
