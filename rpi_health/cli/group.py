"""The group `rpi-health`: finds commands by name, and turns each error into its message and exit status, here alone."""

from __future__ import annotations

import errno
import importlib
import io
import os
import re
import sys
import textwrap
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from rpi_health.cli.settings import redact, setting_options
from rpi_health.errors import RpiHealthError
from rpi_health.text import clean
from rpi_health.urls import redact_url
from rpi_health.version import __version__

#: The commands, and the modules that define them, in the order in which one uses them.
COMMANDS = {
    "init-db": "init_db",
    "consume": "consume",
    "publish-test": "publish_test",
    "status": "status",
    "show": "show",
    "history": "history",
    "check": "check",
    "doctor": "doctor",
    "dead": "dead",
    "config": "config",
    "prune": "prune",
    "forget": "forget",
    "completion": "completion",
}
#: From a URL to the end of the line: an unescaped password may hold anything, blanks too.
_URL = re.compile(r"\S*://.*")
_UNEXPECTED = 1
_INTERRUPTED = 130  # as a shell reports a program that SIGINT has ended


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

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with _told(ctx):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        with _told(ctx):
            return super().invoke(ctx)


@contextmanager
def _told(ctx: click.Context) -> Iterator[None]:
    """Say what is raised inside on stderr, without passwords, and end with its exit status."""
    try:
        yield
    except RpiHealthError as error:
        _fail(ctx, str(error), error.exit_status)
    except KeyboardInterrupt:
        ctx.exit(_INTERRUPTED)
    except click.ClickException as error:
        _say(ctx, _usage(error))
        ctx.exit(error.exit_code)
    except (click.exceptions.Exit, click.Abort):
        raise
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise  # Click ends quietly: who read stdout has seen enough
        _abandon_stdout()
        _fail(ctx, f"{error}. Check the disk, and the file or program that takes the output.", _UNEXPECTED)
    except Exception:
        # Indented: a line of the exception's own message could be taken for one of ours.
        _say(ctx, textwrap.indent(traceback.format_exc(), "  "))
        _fail(ctx, "this was not expected. Please report it, with the lines above.", _UNEXPECTED)


def _usage(error: click.ClickException) -> str:
    """What Click says of a mistake. It quotes what was typed, which may be a URL in the wrong place."""
    with io.StringIO() as text:
        error.show(text)
        return _URL.sub(lambda match: redact_url(match[0]), text.getvalue())


def _fail(ctx: click.Context, message: str, status: int) -> NoReturn:
    """Say each line of a message as an error of its own, and end."""
    _say(ctx, "\n".join(f"Error: {line}" for line in message.splitlines()))
    ctx.exit(status)


def _say(ctx: click.Context, text: str) -> None:
    click.echo("\n".join(map(clean, redact(ctx, text).splitlines())), err=True)


def _abandon_stdout() -> None:
    """Drop what could not be written: Python would try again at the exit, and end with a traceback and status 120."""
    try:
        click.echo(nl=False)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
    Exit status: 0 done, 1 unexpected, 2 usage, 3 configuration, 4 broker,
    5 database, 6 schema not current.""",
)
@setting_options
@click.version_option(__version__, prog_name="rpi-health", message="%(prog)s %(version)s")
def main() -> None:
    """Take the health checks of Raspberry Pis from RabbitMQ into a database, lose none, and show the fleet.

    Each option can be given before or after the command. So can its environment variable, or a line in the config file.
    """
