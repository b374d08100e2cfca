"""The options that every command has, from the catalogue of settings, and the configuration that follows from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, TypeVar

import click

from rpi_health.settings import CONFIG_FILE, SETTINGS, Setting

if TYPE_CHECKING:
    from rpi_health.config import Config

_GIVEN = "rpi_health.settings"
_REDACTOR = "rpi_health.redactor"
_Command = TypeVar("_Command", bound=Callable[..., Any])


def setting_options(command: _Command) -> _Command:
    """Decorate a command or group with the options for settings. What is given after the command wins."""
    return _with_options(command, "")


def own_setting_options(name: str) -> Callable[[_Command], _Command]:
    """Decorate the command of this name with the options for settings that no other command has."""
    return lambda command: _with_options(command, name)


def _with_options(command: _Command, name: str) -> _Command:
    for setting in (CONFIG_FILE, *reversed(SETTINGS)):
        if setting.has_option and setting.command == name:
            command = _option(setting)(command)
    return command


def _option(setting: Setting) -> Callable[[_Command], _Command]:
    return click.option(
        setting.flag,
        setting.name,
        metavar=setting.metavar or None,
        is_flag=setting.is_flag,
        default=None,
        help=f"{setting.help}  [${setting.environment}]",
        expose_value=False,
        callback=_remember,
    )


def _remember(ctx: click.Context, parameter: click.Parameter, value: str | bool | None) -> None:
    # A flag that is not given is None or False, by the version of Click.
    if value not in (None, False) and parameter.name is not None:
        _given(ctx)[parameter.name] = value


def _given(ctx: click.Context) -> dict[str, Any]:
    given: dict[str, Any] = ctx.find_root().meta.setdefault(_GIVEN, {})
    return given


def read(ctx: click.Context) -> Config:
    """The settings, and nothing is done with them.

    Raises:
        ConfigurationError: a setting is missing or wrong.
    """
    from rpi_health import config

    flags = dict(_given(ctx))
    return config.read(flags, config_file=flags.pop(CONFIG_FILE.name, None))


def load(ctx: click.Context, *, log_notices: bool = True) -> Config:
    """The settings, with logging set up as they say. Raises as `read` does.

    Args:
        log_notices: whether what the user should know of them is logged; a caller that says so itself needs no log.
    """
    from rpi_health import config, logs

    settings = read(ctx)
    ctx.find_root().meta[_REDACTOR] = logs.redactor(settings.secrets)
    logs.setup(settings.log_level, settings.log_format, settings.secrets)
    if log_notices:
        config.log_notices(settings)
    return settings


def redact(ctx: click.Context, text: str) -> str:
    """The text without the passwords of the settings, as far as these are known, and of any URL."""
    mask: Callable[[str], str] | None = ctx.find_root().meta.get(_REDACTOR)
    if mask is None:
        from rpi_health import logs

        mask = logs.redactor(())
    return mask(text)
