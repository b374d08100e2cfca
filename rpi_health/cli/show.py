"""`rpi-health show`."""

from __future__ import annotations

from datetime import datetime, timezone

import click

from rpi_health.cli import settings
from rpi_health.cli.completion import device_ids
from rpi_health.cli.output import json_object, print_rich


@click.command("show")
@click.argument("device", shell_complete=device_ids)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, as in `status --json`.")
@settings.setting_options
@click.pass_context
def command(ctx: click.Context, device: str, as_json: bool) -> None:
    """Show all that is known of a device, with its last 24 hours."""
    config = settings.load(ctx)
    from rpi_health import app

    now = datetime.now(timezone.utc)
    found, day = app.device(config, device, now)
    if as_json:
        click.echo(json_object(vars(found)))
        return
    from rpi_health import render

    print_rich(render.device(found, day, now))
