"""The settings: what they are called, where they come from, what is right, and how they are shown without passwords.

The only module that reads the environment and config files. Knows the shape of the URLs, nothing of pika, SQLAlchemy or
Click; opens no connection and writes nothing to disk. Every name, default and help text derives from `SETTINGS`.
"""

from __future__ import annotations

import difflib
import ipaddress
import logging
import math
import os
import re
import sys
from collections import ChainMap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Optional
from urllib.parse import quote, unquote, unquote_plus, urlsplit, urlunsplit

import platformdirs
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from rpi_health.errors import ConfigurationError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

logger = logging.getLogger(__name__)

APP = "rpi-health"
ENVIRONMENT_PREFIX = "RPI_HEALTH_"
MASK = "***"

#: The credentials that everyone knows: right for a first try on one's own machine only.
DEFAULT_USERNAME, DEFAULT_PASSWORD = "athavus", "1234"
DEFAULT_AMQP_URL = f"amqp://{DEFAULT_USERNAME}:{DEFAULT_PASSWORD}@localhost:5672/%2F"

_LONGEST_S = 7 * 86400.0
_UNITS_S = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
#: What follows postgresql://, read as SQLAlchemy does: the password ends at the first @.
_SERVER = re.compile(r"(?:[^:/]*(?::[^@]*)?@)?(?:\[[^/?\]]+\]|[^/:?@\[]*)(?::[0-9]*)?(?:/[^?@]*)?(?:\?.*)?", re.DOTALL)
_BACKENDS = ("sqlite", "postgresql", "mysql", "mariadb")
_NO_PORT = re.compile(r"[^/?#:\[]*:(?![0-9]*(?:[/?#]|\Z))")
_SECRET_NAME = re.compile(r"pass|pwd|secret|token", re.IGNORECASE)
_ENCODE = "special characters in user name and password are written %XX, as %40 for @"


@dataclass(frozen=True)
class Setting:
    """One setting. What it is called in each place derives from `name`.

    Args:
        name: the key in the config file.
        help: what it does, for `--help` and the documentation.
        right: what to give; completes the sentence "give ...".
        field: its field of `Config`, where that carries a unit.
        default: its default in words, where that is not a constant.
        secret: whether its value holds a password.
        from_file: whether it may also come from a file that a variable ending in `_FILE` names.
    """

    name: str
    help: str
    right: str
    field: str = ""
    default: str = ""
    secret: bool = False
    from_file: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "field", self.field or self.name)

    @property
    def environment(self) -> str:
        return ENVIRONMENT_PREFIX + self.name.upper()

    @property
    def file_environment(self) -> str:
        return self.environment + "_FILE"

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")


#: Where the other settings may stand. Not a key of the config file itself.
CONFIG_FILE = Setting(
    "config",
    "Config file (TOML).",
    "the path of a TOML file",
    default="rpi-health/config.toml in the user's, then the system's config folder",
)

SETTINGS = (
    Setting(
        "amqp_url",
        "Broker, or the brokers of a cluster separated by commas.",
        "amqp://USER:PASSWORD@HOST:5672/VHOST, or amqps://…",
        field="amqp_urls",
        secret=True,
        from_file=True,
    ),
    Setting(
        "amqp_username", "User at the broker; overrides the URL's.", "a user name", default="the URL's", from_file=True
    ),
    Setting(
        "amqp_password",
        "Password at the broker; overrides the URL's.",
        "the password as text",
        default="the URL's",
        secret=True,
        from_file=True,
    ),
    Setting("queue", "Queue with the health checks.", "a name of 1 to 255 bytes that does not begin with amq."),
    Setting(
        "dead_letter_queue",
        "Queue for messages that are not health checks.",
        "a name of 1 to 255 bytes that does not begin with amq.",
        default="<queue>.dead",
    ),
    Setting("queue_type", "Type of the queues, when they have to be created.", "classic or quorum"),
    Setting(
        "database_url",
        "Database: SQLite, PostgreSQL or MySQL/MariaDB.",
        "sqlite:////PATH, postgresql://USER:PASSWORD@HOST/NAME or mysql://USER:PASSWORD@HOST/NAME",
        default="an SQLite file in the user's data folder",
        secret=True,
        from_file=True,
    ),
    Setting("batch_size", "Most messages written in one transaction.", "a whole number from 1 to 10000"),
    Setting(
        "prefetch",
        "Most messages that the broker sends ahead of their acknowledgement.",
        "a whole number from 1 to 65535",
        default="2 × batch_size, at most 2000",
    ),
    Setting("log_level", "Least severe log lines to write.", "debug, info, warning or error"),
    Setting("log_format", "Log lines for people or for machines.", "text or json"),
    Setting(
        "received_messages",
        "Payloads that shared.received_messages keeps.",
        "a whole number from 0 to 1000000",
        field="received_messages_limit",
    ),
    Setting(
        "startup_timeout",
        "How long `consume` tries to reach broker and database before it gives up at start.",
        "a duration such as 5, 90s or 5m, from 0s to 7d",
        field="startup_timeout_s",
    ),
    Setting(
        "park_after",
        "How long the database may be away before the consumer gives its messages back and waits.",
        "a duration such as 90s or 5m, from 0s to 7d",
        field="park_after_s",
    ),
    Setting(
        "drain_timeout",
        "How long a stopping consumer may take to write what it holds.",
        "a duration such as 10 or 90s, from 0s to 7d",
        field="drain_timeout_s",
    ),
    Setting(
        "reconnect_max_delay",
        "Longest wait between two attempts to reach the broker.",
        "a duration such as 30 or 1m, from 0.1s to 7d",
        field="reconnect_max_delay_s",
    ),
    Setting(
        "database_retry_max_delay",
        "Longest wait between two attempts to write to the database.",
        "a duration such as 5 or 30s, from 0.1s to 7d",
        field="database_retry_max_delay_s",
    ),
)

_BY_NAME = {setting.name: setting for setting in SETTINGS}


class Notice(NamedTuple):
    """Something about the configuration that the user should know though it stops nothing; logged as a warning."""

    event: str
    sentence: str
    fields: Mapping[str, str]


class _Given(NamedTuple):
    value: object
    origin: str


_Layer = dict[str, _Given]


def parse_duration_s(value: object) -> float:
    """Read a duration.

    Args:
        value: seconds as a number, or text with a unit: `90`, `0.5s`, `250ms`, `5m`, `24h`, `7d`.

    Returns:
        Seconds, finite and not negative.

    Raises:
        ValueError: the value is not a duration.
    """
    seconds = math.nan
    if isinstance(value, str):
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([a-z]*)", value.strip().lower())
        if match and match[2] in _UNITS_S:
            seconds = float(match[1]) * _UNITS_S[match[2]]
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        # Compared before it is converted: float() of an integer of 400 digits is an OverflowError.
        seconds = float(value) if 0 <= value <= sys.float_info.max else math.nan
    if not math.isfinite(seconds):
        raise ValueError("give a duration such as 5, 90s, 5m or 24h")
    return seconds


def default_database_url() -> str:
    """An SQLite file in the user's data folder. The folder need not exist."""
    return f"sqlite:///{platformdirs.user_data_path(APP) / 'rpi-health.sqlite3'}"


def config_files() -> list[Path]:
    """Where a config file is looked for when none is named, the first one that exists counts."""
    system = platformdirs.site_config_dir(APP, multipath=True).split(os.pathsep)
    return [folder / "config.toml" for folder in (platformdirs.user_config_path(APP), *map(Path, system))]


# ── Redaction ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def redact_url(url: str) -> str:
    """The URL, or comma-separated URLs, with `***` for every password. Rather too much than too little; never raises.

    A password with unescaped special characters is masked up to the last `@`; so are query parameters named like one.
    """
    return "".join(_redact_one(piece) for piece in re.split(r"(,\s*(?=[A-Za-z][A-Za-z0-9+.-]*://))", url))


def _redact_one(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "", url
    userinfo, at, tail = rest.rpartition("@")
    user, colon, _ = userinfo.partition(":")
    if at and colon:
        rest = f"{user}:{MASK}@{tail}"
    # What follows the last @ is no host and port, or there is no @: user:password with the host forgotten.
    if _NO_PORT.match(tail):
        rest = f"{rest.partition(':')[0]}:{MASK}"
    return scheme + separator + re.sub(r"([?&;])([^=&;]*)=([^&]*(?:&[^=&]*(?=&|\Z))*)", _redact_parameter, rest)


def _redact_parameter(match: re.Match[str]) -> str:
    separator, name, value = match.groups()
    # The value too: pika's ssl_options is a dict literal that may hold the password of a key.
    secret = _SECRET_NAME.search(unquote(name)) or _SECRET_NAME.search(unquote(value))
    return f"{separator}{name}={MASK}" if secret else match[0]


def _passwords(url: str) -> set[str]:
    """Every reading of the password of a URL, for a URL with unescaped characters has several."""
    rest = url.partition("://")[2]
    found = set()
    if "@" in rest:
        authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
        heads = (rest.rpartition("@")[0], rest.partition("@")[0], authority.rpartition("@")[0])
        found = {head.partition(":")[2] for head in heads}
    for name, value in re.findall(r"[?&;]([^=&;]*)=([^&]*)", rest):
        if _SECRET_NAME.search(unquote(name)):
            found.add(value)
    return found


def _spellings(password: str) -> set[str]:
    plain = unquote(password)
    return {password, plain, unquote_plus(password), quote(plain, safe=""), quote(password, safe="")}


# ── What is right ─────────────────────────────────────────────────────────────────────────────────────────────────────
# A ValueError without a message means: tell the user what `Setting.right` says.


def _whole(value: object) -> object:
    if isinstance(value, (bool, float)):  # which pydantic would take for 1 and for 500
        raise ValueError
    return value


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _queue_name(name: str) -> str:
    if not 1 <= len(name.encode()) <= 255 or name.startswith("amq.") or not name.isprintable():
        raise ValueError
    return name


def _split_urls(value: object) -> object:
    if isinstance(value, str):
        value = re.split(r",\s*(?=[A-Za-z][A-Za-z0-9+.-]*://)", value)
    if not isinstance(value, (list, tuple)) or not all(isinstance(url, str) for url in value):
        raise ValueError
    return tuple(url for url in (each.strip(" \t\r\n,") for each in value) if url)


def _check_amqp_url(url: str) -> None:
    """Raise a ValueError that says what is wrong with the URL without quoting any of it."""
    if not re.match(r"amqps?://", url, re.IGNORECASE):
        raise ValueError("a broker's URL begins with amqp:// or amqps://")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(f"its host or port cannot be read: {_ENCODE}") from None
    # An unescaped / ? or # ends the authority early: what is left may still look like a host and a port.
    beyond = url.partition("://")[2][len(parts.netloc) :]
    if parts.fragment or ("@" in beyond and "@" not in parts.netloc) or re.search(r"[\s\x00-\x1f\x7f]", url):
        raise ValueError(f"it holds an unescaped special character: {_ENCODE}")
    if "/" in parts.path[1:]:
        raise ValueError("a / in the virtual host is written %2F")
    if not parts.hostname:
        raise ValueError("it names no host")
    if port == 0:
        raise ValueError("its port is 0")
    if "," in parts.hostname:
        raise ValueError("after each comma comes a whole URL, from amqp:// on")


def _with_credentials(url: str, username: Optional[str], password: Optional[str]) -> str:
    """The URL with the user name and password put in place of its own, if given.

    Raises:
        ValueError: one of the two would be missing, which pika answers with a TypeError.
    """
    parts = urlsplit(url)
    user = parts.username if username is None else quote(username, safe="")
    secret = parts.password if password is None else quote(password, safe="")
    if user is None and secret is None:
        return url
    if not user:
        raise ValueError("there is a password but no user name: set amqp_username")
    if secret is None:
        raise ValueError("there is a user name but no password: set amqp_password")
    if username is None and password is None:
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{user}:{secret}@{host}"))


def _check_database_url(url: str) -> str:
    url = url.strip()
    scheme, separator, rest = url.partition("://")
    backend = scheme.partition("+")[0]
    if backend == "postgres" and separator:
        raise ValueError("write postgresql:// in place of postgres://")
    if not separator or backend not in _BACKENDS:
        raise ValueError
    if backend == "sqlite" and "/" not in rest:
        raise ValueError("three slashes and a path: sqlite:///relative.sqlite3 or sqlite:////absolute.sqlite3")
    if backend != "sqlite" and not _SERVER.fullmatch(rest):
        raise ValueError(f"its host or port cannot be read: {_ENCODE}")
    return url


def _is_local(host: Optional[str]) -> bool:
    if host is None or host.rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


_QueueName = Annotated[str, AfterValidator(_queue_name)]
_Seconds = Annotated[float, BeforeValidator(parse_duration_s), Field(ge=0, le=_LONGEST_S)]
#: A delay of zero would be a busy loop.
_Delay = Annotated[float, BeforeValidator(parse_duration_s), Field(ge=0.1, le=_LONGEST_S)]
#: The default of a field whose default depends on another field.
_DERIVED: Any = None


class Config(BaseModel):
    """All settings, checked and final: `amqp_urls` hold `amqp_username` and `amqp_password` if these are given.

    `amqp_urls`, `amqp_password` and `database_url` are the real ones, for those who connect. To show a value, take
    `redacted`, which `repr` and `str` also do.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    # In this order: a field's validator sees only the fields before it.
    amqp_username: Optional[str] = Field(default=None, min_length=1)
    amqp_password: Optional[str] = Field(default=None, min_length=1)
    amqp_urls: Annotated[tuple[str, ...], BeforeValidator(_split_urls)] = Field(
        default=(DEFAULT_AMQP_URL,), min_length=1, validate_default=True
    )
    queue: _QueueName = "rasp_data"
    dead_letter_queue: _QueueName = Field(default=_DERIVED, validate_default=True)
    queue_type: Annotated[Literal["classic", "quorum"], BeforeValidator(_lower)] = "classic"
    database_url: Annotated[str, AfterValidator(_check_database_url)] = Field(default_factory=default_database_url)
    batch_size: Annotated[int, BeforeValidator(_whole), Field(ge=1, le=10_000)] = 500
    prefetch: Annotated[int, BeforeValidator(_whole), Field(ge=1, le=65_535)] = Field(
        default=_DERIVED, validate_default=True
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = "info"
    log_format: Annotated[Literal["text", "json"], BeforeValidator(_lower)] = "text"
    received_messages_limit: Annotated[int, BeforeValidator(_whole), Field(ge=0, le=1_000_000)] = 1000
    startup_timeout_s: _Seconds = 5.0
    park_after_s: _Seconds = 300.0
    drain_timeout_s: _Seconds = 10.0
    reconnect_max_delay_s: _Delay = 30.0
    database_retry_max_delay_s: _Delay = 5.0

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)
    _notices: tuple[Notice, ...] = PrivateAttr(default=())
    _config_file: Optional[Path] = PrivateAttr(default=None)

    @field_validator("amqp_urls")
    @classmethod
    def _final_amqp_urls(cls, urls: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for url in urls:
            _check_amqp_url(url)
        username, password = info.data.get("amqp_username"), info.data.get("amqp_password")
        return tuple(_with_credentials(url, username, password) for url in urls)

    @field_validator("dead_letter_queue", mode="before")
    @classmethod
    def _default_dead_letter_queue(cls, name: object, info: ValidationInfo) -> object:
        return f"{info.data.get('queue', 'rasp_data')}.dead" if name is None else name

    @field_validator("dead_letter_queue")
    @classmethod
    def _another_queue(cls, name: str, info: ValidationInfo) -> str:
        if name == info.data.get("queue"):
            raise ValueError("give another name than the queue's")
        return name

    @field_validator("prefetch", mode="before")
    @classmethod
    def _default_prefetch(cls, count: object, info: ValidationInfo) -> object:
        return min(2 * info.data.get("batch_size", 500), 2000) if count is None else count

    def origin(self, name: str) -> str:
        """Where the value of the setting of this name came from: a flag, a variable, a file, or `default`."""
        return self._origins.get(_BY_NAME[name].name, "default")

    def redacted(self, name: str) -> object:
        """The value of the setting of this name, with `***` for passwords."""
        return _redacted(_BY_NAME[name], getattr(self, _BY_NAME[name].field))

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What the user should know about this configuration; see `log_notices`."""
        return self._notices

    @property
    def config_file(self) -> Optional[Path]:
        """The config file that was read, if any."""
        return self._config_file

    @property
    def secrets(self) -> frozenset[str]:
        """Every password in every spelling, as it is and percent-encoded, so that output can mask them."""
        passwords = {self.amqp_password or ""}.union(*map(_passwords, (*self.amqp_urls, self.database_url)))
        return frozenset(spelling for password in passwords for spelling in _spellings(password) if spelling)

    def __repr_args__(self) -> Iterable[tuple[Optional[str], Any]]:
        for setting in SETTINGS:
            yield setting.field, self.redacted(setting.name)


def _redacted(setting: Setting, value: object) -> object:
    if not setting.secret or value is None:
        return value
    if isinstance(value, (tuple, list)):
        return tuple(_redacted(setting, each) for each in value)
    return redact_url(value) if isinstance(value, str) and setting.name != "amqp_password" else MASK


def default_text(setting: Setting) -> str:
    """The default of a setting as a user would write it, for help and documentation."""
    if setting.default or setting is CONFIG_FILE:
        return setting.default
    default = Config.model_fields[setting.field].default
    if setting.field.endswith("_s"):
        return f"{default:g}s"
    return ",".join(default) if isinstance(default, tuple) else str(default)


# ── Where it comes from ───────────────────────────────────────────────────────────────────────────────────────────────


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
    given = ChainMap(from_flags, from_environment, from_file)
    config = _validated(given, problems)
    if config is None or problems:
        raise ConfigurationError("\n".join(problems))
    config._origins = {name: value.origin for name, value in given.items()}
    config._notices = (*_unknown_variables(environ), *_default_credentials(config))
    config._config_file = path
    return config


def log_notices(config: Config) -> None:
    """Log what the user should know about this configuration."""
    for notice in config.notices:
        logger.warning(notice.sentence, extra={"event": notice.event, **notice.fields})


def _flag_layer(flags: Mapping[str, object], problems: list[str]) -> _Layer:
    unknown = [name for name in flags if name not in _BY_NAME]
    problems.extend(f"there is no setting {name!r}{_did_you_mean(name, _BY_NAME)}" for name in unknown)
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
    # Without any slash it is more likely the secret itself, in the wrong variable.
    shown = redact_url(path) if "/" in path else MASK
    origin = f"file {shown} ({setting.file_environment})"
    try:
        value = Path(path).expanduser().read_bytes().decode().rstrip("\r\n")
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
    what = f"config file {path}{by}"
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
        f"{what} has an unknown key {key!r}{_line(key, text)}{_did_you_mean(key, _BY_NAME)}"
        for key in table
        if key not in _BY_NAME
    )
    return path, {
        name: _Given(value, f"{name} in {path}{_line(name, text)}") for name, value in table.items() if name in _BY_NAME
    }


def _config_file(named: str | os.PathLike[str] | None, environ: Mapping[str, str]) -> tuple[Optional[Path], str]:
    if named is not None:
        return Path(named).expanduser(), f" ({CONFIG_FILE.flag})"
    if environ.get(CONFIG_FILE.environment):
        return Path(environ[CONFIG_FILE.environment]).expanduser(), f" ({CONFIG_FILE.environment})"
    # os.path, whose isfile() says no where Path.is_file() raises: in a folder that may not be entered.
    return next((path for path in config_files() if os.path.isfile(path)), None), ""


def _validated(given: Mapping[str, _Given], problems: list[str]) -> Optional[Config]:
    try:
        return Config.model_validate({_BY_NAME[name].field: value.value for name, value in given.items()})
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
    return f"{setting.name} is {_shown(_redacted(setting, given.value))} ({given.origin}): {cure}"


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


def _unknown_variables(environ: Mapping[str, str]) -> Iterable[Notice]:
    known = {CONFIG_FILE.environment, *(setting.environment for setting in SETTINGS)}
    known |= {setting.file_environment for setting in SETTINGS if setting.from_file}
    for name in sorted(environ):
        ours = name.startswith(ENVIRONMENT_PREFIX) and not name.startswith(ENVIRONMENT_PREFIX + "FAILPOINT")
        if ours and name not in known:
            close = difflib.get_close_matches(name, sorted(known), n=1)
            hint = {"did_you_mean": close[0]} if close else {}
            yield Notice("unknown_variable", "unknown environment variable ignored", {"variable": name, **hint})


def _default_credentials(config: Config) -> Iterable[Notice]:
    for url in config.amqp_urls:
        parts = urlsplit(url)
        known = (unquote(parts.username or ""), unquote(parts.password or "")) == (DEFAULT_USERNAME, DEFAULT_PASSWORD)
        if known and not _is_local(parts.hostname):
            yield Notice(
                "default_credentials",
                "default credentials used on a broker that is not local, choose a password of your own",
                {"host": parts.hostname or ""},
            )
