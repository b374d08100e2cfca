"""The group `rpi-health`: finds commands by name, and turns each error into its message and exit status, here alone."""

from __future__ import annotations

import importlib
import sys
import traceback
from typing import Any

import click

from rpi_health.cli.settings import redact, setting_options
from rpi_health.errors import RpiHealthError
from rpi_health.version import __version__

#: The commands, and the modules that define them, in the order in which one uses them.
COMMANDS = {
    "init-db": "init_db",
    "consume": "consume",
    "publish-test": "publish_test",
    "status": "status",
}
_UNEXPECTED = 1


class Commands(click.Group):
    """Imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = importlib.import_module(f"rpi_health.cli.{module}").command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RpiHealthError as error:
            _say(f"Error: {redact(ctx, str(error))}")
            ctx.exit(error.exit_status)
        except (click.ClickException, click.exceptions.Exit, click.Abort, OSError):
            raise
        except Exception:
            _say(redact(ctx, traceback.format_exc()))
            _say("Error: this was not expected. Please report it, with the lines above.")
            ctx.exit(_UNEXPECTED)


def _say(message: str) -> None:
    click.secho(message, err=True, fg="red" if sys.stderr.isatty() else None)


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit status: 0 done, 1 unexpected, 2 usage, 3 configuration, 4 broker, 5 database, 6 schema not current.",
)
@setting_options
@click.version_option(__version__, prog_name="rpi-health", message="%(prog)s %(version)s")
def main() -> None:
    """Take the health checks of Raspberry Pis from RabbitMQ into a database, lose none, and show the fleet.

    Each option can be given before or after the command. So can its environment variable, or a line in the config file.
    """
