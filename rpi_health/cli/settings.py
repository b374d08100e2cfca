"""The options that every command has, and the settings that follow from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, TypeVar

import click

if TYPE_CHECKING:
    from rpi_health.config import Config

_META = "rpi_health.settings"
_Command = TypeVar("_Command", bound=Callable[..., Any])

_OPTIONS = (
    ("amqp_url", "URL", "Broker, or the brokers of a cluster separated by commas.  [env: RPI_HEALTH_AMQP_URL]"),
    ("database_url", "URL", "Database: SQLite, PostgreSQL, MySQL or MariaDB.  [env: RPI_HEALTH_DATABASE_URL]"),
    ("queue", "NAME", "Queue with the health checks.  [env: RPI_HEALTH_QUEUE]"),
    ("config", "FILE", "Config file (TOML).  [env: RPI_HEALTH_CONFIG]"),
    ("log_level", "LEVEL", "debug, info, warning or error.  [env: RPI_HEALTH_LOG_LEVEL]"),
    ("log_format", "FORMAT", "text or json.  [env: RPI_HEALTH_LOG_FORMAT]"),
)


def setting_options(command: _Command) -> _Command:
    """Decorate a command or group with the options for settings. What is given after the command wins."""
    for name, metavar, help_text in reversed(_OPTIONS):
        flag = "--" + name.replace("_", "-")
        option = click.option(flag, name, metavar=metavar, help=help_text, expose_value=False, callback=_remember)
        command = option(command)
    return command


def _remember(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None and parameter.name is not None:
        _given(ctx)[parameter.name] = value


def _given(ctx: click.Context) -> dict[str, Any]:
    given: dict[str, Any] = ctx.find_root().meta.setdefault(_META, {})
    return given


def load(ctx: click.Context, *, log_level: str | None = None) -> Config:
    """The settings, with logging set up as they say.

    Raises:
        ConfigurationError: a setting is missing or wrong.
    """
    from rpi_health import config, logs

    flags = dict(_given(ctx))
    settings = config.read(flags, config_file=flags.pop("config", None))
    ctx.find_root().meta[_META + ".redact"] = logs.redactor(settings.secrets)
    logs.setup(settings.log_level, settings.log_format, settings.secrets)
    config.log_notices(settings)
    return settings


def redact(ctx: click.Context, text: str) -> str:
    """The text without the passwords of the settings, as far as these are known."""
    mask: Callable[[str], str] = ctx.find_root().meta.get(_META + ".redact", lambda plain: plain)
    return mask(text)
