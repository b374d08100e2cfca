"""`rpi-health prune`."""

from __future__ import annotations

from datetime import datetime

import click

from rpi_health.cli import settings, times
from rpi_health.cli.progress import progress_bar


@click.command("prune")
@click.option(
    "--older-than",
    "before",
    metavar="AGE",
    required=True,
    callback=times.age,
    help="What is older goes, such as 30d; or a time.",
)
@click.option("--dry-run", is_flag=True, help="Only tell how much that would be.")
@settings.setting_options
@click.pass_context
def command(ctx: click.Context, before: datetime, dry_run: bool) -> None:
    """Delete old reports from the history.

    Consumers do that by themselves (setting `retention`), and may run meanwhile. The state of each device stays, and so
    do the figures of each hour, for 400 days.
    """
    config = settings.load(ctx)
    from rpi_health import app

    reports = devices = 0
    with app.retention(config) as kept:
        ids = list(kept.due(before))
        with progress_bar("Pruning", len(ids)) as advance:
            for device in ids:
                count = kept.count_reports(device, before) if dry_run else sum(kept.prune(device, before))
                reports, devices = reports + count, devices + (count > 0)
                advance(1)
    what = f"{reports:,} report{'' if reports == 1 else 's'} of {devices:,} device{'' if devices == 1 else 's'}"
    click.echo(f"{'Would delete' if dry_run else 'Deleted'} {what} from before {before:%Y-%m-%d %H:%M} UTC.")
