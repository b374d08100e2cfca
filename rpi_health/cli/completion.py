"""`rpi-health completion`, and what completes the ids of devices."""

from __future__ import annotations

import re
from typing import Any

import click

from rpi_health.cli import settings

_SHELLS = ("bash", "zsh", "fish")
_MOST_IDS = 200
# A shell puts what is completed into the command line as it is: an id such as $(reboot) must not get there.
_HARMLESS = re.compile(r"[\w.:@%+][\w.:@%+-]*")


@click.command("completion")
@click.argument("shell", type=click.Choice(_SHELLS))
@settings.setting_options
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print what a shell needs to complete commands and ids.

    For bash: rpi-health completion bash > ~/.local/share/bash-completion/completions/rpi-health
    """
    from click.shell_completion import get_completion_class

    kind: Any = get_completion_class(shell)
    click.echo(kind(ctx.find_root().command, {}, "rpi-health", "_RPI_HEALTH_COMPLETE").source())


def device_ids(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The ids in the database that begin so; none where it cannot be asked: a shell that completes shows no error."""
    try:
        return _ids(ctx, incomplete)
    except Exception:
        return []


def _ids(ctx: click.Context, incomplete: str) -> list[str]:
    from rpi_health import app
    from rpi_health.device import Selection

    if not _HARMLESS.fullmatch(f"x{incomplete}"):
        return []
    found, _ = app.devices(settings.read(ctx), Selection(ids=f"{incomplete}*", sort="id", limit=_MOST_IDS))
    return [device.raspberry_id for device in found if _HARMLESS.fullmatch(device.raspberry_id)]
