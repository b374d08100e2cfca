"""Where the configuration comes from: flags, environment, config file; and what is wrong with them.

The only module that reads the environment and config files. Opens no connection and writes nothing. What the settings
are called is in `settings`, what is right in `config_values`.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections import ChainMap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, Optional

import platformdirs
from pydantic import ValidationError

from rpi_health import events, notices, urls
from rpi_health.config_values import APP, Circumstances, Config, default_database_url, redacted
from rpi_health.errors import ConfigurationError
from rpi_health.settings import BY_NAME, CONFIG_FILE, FAILPOINTS, FAILPOINTS_ALLOWED, SETTINGS, Setting
from rpi_health.urls import MASK

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


__all__ = ["Config", "config_files", "default_database_url", "load", "log_notices", "read"]


class _Given(NamedTuple):
    value: object
    origin: str


_Layer = dict[str, _Given]


def config_files() -> list[Path]:
    """Where a config file is looked for when none is named, the first one that exists counts."""
    system = platformdirs.site_config_dir(APP, multipath=True).split(os.pathsep)
    return [folder / "config.toml" for folder in (platformdirs.user_config_path(APP), *map(Path, system))]


def load(
    flags: Optional[Mapping[str, object]] = None,
    *,
    config_file: str | os.PathLike[str] | None = None,
    environ: Optional[Mapping[str, str]] = None,
) -> Config:
    """Read the configuration and log its notices: flags over environment over config file over defaults.

    Args:
        flags: values by setting name; None means that the flag was not given.
        config_file: the config file to read, which must exist; without it `RPI_HEALTH_CONFIG`, then `config_files()`.
        environ: the environment, if not the process's own.

    Raises:
        ConfigurationError: something is wrong; the message has one line for each thing.
    """
    config = read(flags, config_file=config_file, environ=environ)
    log_notices(config)
    return config


def read(
    flags: Optional[Mapping[str, object]] = None,
    *,
    config_file: str | os.PathLike[str] | None = None,
    environ: Optional[Mapping[str, str]] = None,
) -> Config:
    """As `load`, but log nothing: for a caller that sets up logging from this very configuration."""
    environ = os.environ if environ is None else environ
    problems: list[str] = []
    from_flags = _flag_layer(flags or {}, problems)
    from_environment = _environment_layer(environ, from_flags, problems)
    path, from_file = _file_layer(config_file, environ, problems)
    failpoints = _failpoints(environ, problems)
    given = ChainMap(from_flags, from_environment, from_file)
    config = _validated(given, problems)
    if config is None or problems:
        raise ConfigurationError("\n".join(problems))
    origins = {name: value.origin for name, value in given.items()}
    told = (
        *notices.unknown_variables(environ),
        *notices.default_credentials(config.amqp_urls),
        *notices.insecure_tls(config.amqp_urls, config.tls_insecure),
    )
    return config.found_in(Circumstances(origins, told, path, failpoints, *_service_manager(environ)))


def _service_manager(environ: Mapping[str, str]) -> tuple[Optional[str], Optional[float]]:
    """Where it listens, and its patience, as sd_notify(3) and sd_watchdog_enabled(3) have it."""
    microseconds, is_ours = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID") in (None, str(os.getpid()))
    watchdog_s = float(microseconds) / 1e6 if microseconds.isdecimal() and is_ours else None
    return environ.get("NOTIFY_SOCKET") or None, watchdog_s


def log_notices(config: Config) -> None:
    """Log what the user should know about this configuration."""
    log = events.Log(__name__)
    for notice in config.notices:
        log.say(notice.event, **notice.fields)


def _flag_layer(flags: Mapping[str, object], problems: list[str]) -> _Layer:
    unknown = [name for name in flags if name not in BY_NAME]
    problems.extend(f"there is no setting {name!r}{_did_you_mean(name, BY_NAME)}" for name in unknown)
    return {
        setting.name: _Given(flags[setting.name], setting.flag)
        for setting in SETTINGS
        if flags.get(setting.name) is not None
    }


def _environment_layer(environ: Mapping[str, str], above: _Layer, problems: list[str]) -> _Layer:
    layer: _Layer = {}
    for setting in SETTINGS:
        value = environ.get(setting.environment)
        path = environ.get(setting.file_environment) if setting.from_file else None
        # A secret file that only the service's user may read must not stop someone who gives a flag instead.
        if setting.name in above:
            continue
        if value and path:
            problems.append(f"{setting.environment} and {setting.file_environment} are both set: unset one of them")
        elif value:
            layer[setting.name] = _Given(value, f"environment variable {setting.environment}")
        elif path:
            layer.update(_secret_file(setting, path, problems))
    return layer


def _secret_file(setting: Setting, path: str, problems: list[str]) -> _Layer:
    # What is in no folder that exists is more likely the secret itself, in the wrong variable; base64 has slashes too.
    folder = os.path.dirname(os.path.expanduser(path))
    is_path = path.startswith("~") or (folder and os.path.isdir(folder))
    shown = urls.redact_url(path) if is_path else MASK
    origin = f"file {shown} ({setting.file_environment})"
    try:
        value = _expanded(path).read_bytes().decode().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{setting.name} cannot be read from {origin}: {_reason(error)}")
        return {}
    if not value:
        problems.append(f"{setting.name} cannot be read from {origin}: the file is empty")
        return {}
    return {setting.name: _Given(value, origin)}


def _file_layer(
    named: str | os.PathLike[str] | None, environ: Mapping[str, str], problems: list[str]
) -> tuple[Optional[Path], _Layer]:
    path, by = _config_file(named, environ)
    if path is None:
        return None, {}
    what = f"config file {urls.redact_url(str(path))}{by}"
    try:
        text = path.read_bytes().decode("utf-8-sig")
        table = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{what} cannot be read: {_reason(error)}")
        return None, {}
    except (ValueError, RecursionError) as error:
        problems.append(f"{what} is not valid TOML: {error}")
        return None, {}
    problems.extend(
        f"{what} has an unknown key {urls.redact_url(key)!r}{_line(key, text)}{_did_you_mean(key, BY_NAME)}"
        for key in table
        if key not in BY_NAME
    )
    return path, {
        name: _Given(value, f"{name} in {path}{_line(name, text)}") for name, value in table.items() if name in BY_NAME
    }


def _config_file(named: str | os.PathLike[str] | None, environ: Mapping[str, str]) -> tuple[Optional[Path], str]:
    if named is not None:
        return _expanded(named), f" ({CONFIG_FILE.flag})"
    if environ.get(CONFIG_FILE.environment):
        return _expanded(environ[CONFIG_FILE.environment]), f" ({CONFIG_FILE.environment})"
    # os.path, whose isfile() says no where Path.is_file() raises: in a folder that may not be entered.
    return next((path for path in config_files() if os.path.isfile(path)), None), ""


def _expanded(path: str | os.PathLike[str]) -> Path:
    # os.path, whose expanduser() leaves a ~ that it cannot expand where Path.expanduser() raises a RuntimeError.
    return Path(os.path.expanduser(path))


def _failpoints(environ: Mapping[str, str], problems: list[str]) -> Optional[str]:
    failpoints = environ.get(FAILPOINTS)
    if failpoints and environ.get(FAILPOINTS_ALLOWED) != "1":
        problems.append(f"{FAILPOINTS} makes the consumer fail on purpose: unset it, or set {FAILPOINTS_ALLOWED}=1")
    return failpoints or None


def _validated(given: Mapping[str, _Given], problems: list[str]) -> Optional[Config]:
    try:
        return Config.model_validate({BY_NAME[name].field: value.value for name, value in given.items()})
    except ValidationError as error:
        # One line a setting: the members of a list fail one by one.
        found = {str(each["loc"][0]): each.get("ctx", {}).get("error") for each in reversed(error.errors())}
    problems.extend(
        _problem(setting, given.get(setting.name), found[setting.field])
        for setting in SETTINGS
        if setting.field in found
    )
    return None


def _problem(setting: Setting, given: Optional[_Given], error: Optional[object]) -> str:
    cure = str(error) if isinstance(error, ValueError) and str(error) else f"give {setting.right}"
    if given is None:
        return f"{setting.name} (default): {cure}"
    return f"{setting.name} is {_shown(redacted(setting, given.value))} ({given.origin}): {cure}"


def _shown(value: object) -> str:
    try:
        text = repr(", ".join(map(str, value)) if isinstance(value, tuple) else value)
    except ValueError:  # an integer of more digits than Python turns into text
        return "a number too long to show"
    return text if len(text) <= 200 else text[:200] + "…"


def _reason(error: Exception) -> str:
    return error.strerror or "it cannot be opened" if isinstance(error, OSError) else "it is not UTF-8 text"


def _line(key: str, text: str) -> str:
    """Which line of a TOML file a top-level key stands on, which its parser does not tell; empty if not found."""
    pattern = re.compile(rf"\s*\[*\s*[\"']?{re.escape(key)}[\"']?\s*[=.\]]")
    lines = (number for number, line in enumerate(text.splitlines(), 1) if pattern.match(line))
    number = next(lines, None)
    return f", line {number}" if number else ""


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f": did you mean {close[0]}?" if close else f": known are {', '.join(known)}"
