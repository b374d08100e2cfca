"""`rpi-health check`."""

from __future__ import annotations

import math
from datetime import datetime, timezone
from typing import Any

import click

from rpi_health.cli import settings
from rpi_health.cli.output import forgive_encoding
from rpi_health.device import HOT_CELSIUS, WARM_CELSIUS, Selection
from rpi_health.errors import RpiHealthError


class _Plugin(click.Command):
    """A command whose every failure is the status that monitoring systems know as unknown, said on stdout."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> click.Context:
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.ClickException as error:
            self._give_up(parent, error.format_message())
            raise

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RpiHealthError as error:
            self._give_up(ctx, str(error))
        except click.ClickException as error:
            self._give_up(ctx, error.format_message())
        except (click.exceptions.Exit, click.Abort, OSError):
            raise
        except Exception as error:
            self._give_up(ctx, f"this was not expected, please report it: {type(error).__name__}: {error}")

    def _give_up(self, ctx: click.Context, why: str) -> None:
        from rpi_health.render import check

        forgive_encoding()
        click.echo(check.line(check.UNKNOWN, settings.redact(ctx, " ".join(why.split()))))
        ctx.exit(check.UNKNOWN)


@click.command("check", cls=_Plugin)
@click.option("--id", "ids", metavar="GLOB", help="Only devices with such an id: * is any text, ? any character.")
@click.option(
    "--warn-temp", metavar="°C", type=float, default=WARM_CELSIUS, show_default=True, help="From here on a warning."
)
@click.option(
    "--crit-temp", metavar="°C", type=float, default=HOT_CELSIUS, show_default=True, help="From here on critical."
)
@click.option(
    "--max-offline",
    metavar="N",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="More than N devices offline are critical.",
)
@settings.setting_options
@click.pass_context
def command(ctx: click.Context, ids: str | None, warn_temp: float, crit_temp: float, max_offline: int) -> None:
    """Check the fleet for Nagios, Icinga or Checkmk.

    One line with performance data. Exit status: 0 all is well, 1 a device is late or warm, or no consumer listens; 2 a
    device is offline or hot; 3 it cannot be told, as when the database is away.
    """
    for option, limit in (("--warn-temp", warn_temp), ("--crit-temp", crit_temp)):
        if math.isnan(limit):  # which nothing is as hot as
            raise click.UsageError(f"{option} {limit} is no number.")
    config = settings.load(ctx)
    from rpi_health import app
    from rpi_health.render import check

    devices, overview = app.devices(config, Selection(ids))
    limits = check.Limits(warn_temp, crit_temp, max_offline)
    status, line = check.check(devices, overview, datetime.now(timezone.utc), limits)
    forgive_encoding()
    click.echo(line)
    ctx.exit(status)
