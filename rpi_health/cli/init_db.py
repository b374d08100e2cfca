"""`rpi-health init-db`."""

from __future__ import annotations

import click

from rpi_health.cli import settings


@click.command("init-db")
@click.option("--check", is_flag=True, help="Only tell whether the schema is current (exit status 6 if not).")
@settings.setting_options
@click.pass_context
def command(ctx: click.Context, check: bool) -> None:
    """Create or upgrade the tables.

    Safe to run again, and several times at once. A table device_status that another program made is taken over, with
    all its rows.
    """
    from rpi_health import app

    config = settings.load(ctx)
    if check:
        app.check_database(config)
        _say("The tables are up to date.")
    else:
        _say(app.init_database(config, say=_say))


def _say(sentence: str) -> None:
    click.echo(sentence, err=True)
