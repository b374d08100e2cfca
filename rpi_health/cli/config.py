"""`rpi-health config`: what the settings are, and where they come from."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from rpi_health.cli import settings
from rpi_health.cli.output import forgive_encoding, json_array, print_rich
from rpi_health.settings import SETTINGS, Setting

if TYPE_CHECKING:
    from rpi_health.config import Config

_WIDTH = 100
#: What an example has for a setting that has no default.
_EXAMPLES = {
    "amqp_username": "rpi_health",
    "amqp_password": "change me",
    "amqp_ca_file": "/etc/rpi-health/ca.pem",
    "amqp_cert_file": "/etc/rpi-health/client.pem",
    "amqp_key_file": "/etc/rpi-health/client-key.pem",
    "metrics_addr": "127.0.0.1:9108",
}


@click.group("config")
@settings.setting_options
def command() -> None:
    """Show the settings, and where they come from."""


@command.command("show")
@click.option("--json", "as_json", is_flag=True, help="One JSON array, an object a setting.")
@settings.setting_options
@click.pass_context
def show(ctx: click.Context, as_json: bool) -> None:
    """Show each setting, its value without passwords, and its origin."""
    config = settings.load(ctx)
    rows = [(setting.name, config.shown(setting.name), config.origin(setting.name)) for setting in SETTINGS]
    if as_json:
        click.echo(json_array(dict(zip(("setting", "value", "origin"), row)) for row in rows))
        return
    from rpi_health import render

    print_rich(render.settings(rows), soft_wrap=True)


@command.command("example")
def example() -> None:
    """Print a config file with all settings, their defaults and what they do.

    Every line is a comment: take away the # where you want something else.
    """
    forgive_encoding()
    click.echo("\n".join(_example()))


def _example() -> Iterator[str]:
    from rpi_health.config import Config

    config = Config()
    yield "# The settings of rpi-health, with their defaults. `rpi-health config path` tells where this file belongs."
    for setting in SETTINGS:
        yield ""
        for line in (setting.help, f"Give {setting.right}"):
            yield from textwrap.wrap(line, _WIDTH, initial_indent="# ", subsequent_indent="# ")
        if setting.from_file:
            yield f"# Or name a file with it in {setting.file_environment}."
        yield f"#{setting.name} = {_default(config, setting)}"


def _default(config: Config, setting: Setting) -> str:
    """As it is written in TOML."""
    value = getattr(config, setting.field)
    if setting.is_flag:
        return config.shown(setting.name)
    if isinstance(value, (int, float)) and not setting.field.endswith("_s"):
        return f"{value:g}"
    # JSON's strings are TOML's.
    return json.dumps(_EXAMPLES.get(setting.name) or _text(config, setting), ensure_ascii=False)


def _text(config: Config, setting: Setting) -> str:
    # The default URLs have the password that everyone knows.
    return ", ".join(config.amqp_urls) if setting.name == "amqp_url" else config.shown(setting.name)


@command.command("path")
@settings.setting_options
@click.pass_context
def path(ctx: click.Context) -> None:
    """Print the path of the config file that is read, or that would be if it were there."""
    from rpi_health.config import config_files

    read = settings.load(ctx).config_file
    click.echo(str(read or config_files()[0]))
    if read is None:
        click.echo("It is not there: `rpi-health config example` prints one.", err=True)
