"""`rpi-health forget`."""

from __future__ import annotations

import click

from rpi_health.cli import settings
from rpi_health.cli.completion import device_ids
from rpi_health.text import clean


@click.command("forget")
@click.argument("device", shell_complete=device_ids)
@click.option("--yes", is_flag=True, help="Do not ask.")
@settings.setting_options
@click.pass_context
def command(ctx: click.Context, device: str, yes: bool) -> None:
    """Delete a device and its history. Should it report again, it is a new one."""
    config = settings.load(ctx)
    from rpi_health import app

    raspberry_id = app.find(config, device)
    name = clean(raspberry_id)
    if not yes:
        click.confirm(f"Delete {name} and all that it has reported?", abort=True, err=True)
    with app.retention(config) as kept:
        reports = sum(kept.forget(raspberry_id))
    click.echo(f"Deleted {name} and {reports:,} report{'' if reports == 1 else 's'}.")
