"""The configuration: what the settings are set to, where from, and what is wrong with them.

The only module that reads the environment and config files. Opens no connection and writes nothing. What the settings
are called is in `settings`; no message and no representation shows a password.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections import ChainMap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Optional

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

from rpi_health import events, notices, urls
from rpi_health.durations import duration_text, parse_duration_s
from rpi_health.errors import ConfigurationError
from rpi_health.notices import Notice
from rpi_health.settings import (
    BY_NAME,
    CONFIG_FILE,
    DEFAULT_AMQP_URL,
    FAILPOINTS,
    FAILPOINTS_ALLOWED,
    SETTINGS,
    Setting,
)
from rpi_health.tls import Tls
from rpi_health.urls import MASK

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

APP = "rpi-health"

_PEM = "-----BEGIN"
_LONGEST_S = 7 * 86400.0
_SHORTEST_AGE_S, _LONGEST_AGE_S = 3600.0, 3650 * 86400.0


class _Given(NamedTuple):
    value: object
    origin: str


class _ServiceManager(NamedTuple):
    socket: Optional[str]
    watchdog_s: Optional[float]


_Layer = dict[str, _Given]


def default_database_url() -> str:
    """An SQLite file in the user's data folder. The folder need not exist."""
    return f"sqlite:///{platformdirs.user_data_path(APP) / 'rpi-health.sqlite3'}"


def config_files() -> list[Path]:
    """Where a config file is looked for when none is named, the first one that exists counts."""
    system = platformdirs.site_config_dir(APP, multipath=True).split(os.pathsep)
    return [folder / "config.toml" for folder in (platformdirs.user_config_path(APP), *map(Path, system))]


# ── What is right ─────────────────────────────────────────────────────────────────────────────────────────────────────
# A ValueError without a message means: tell the user what `Setting.right` says.


def _whole(value: object) -> object:
    if isinstance(value, (bool, float)):  # which pydantic would take for 1 and for 500
        raise ValueError
    return value


def _age_s(value: object) -> float:
    seconds = parse_duration_s(value)
    is_bare = isinstance(value, (int, float)) or (isinstance(value, str) and value.strip()[-1:].isdigit())
    if seconds != 0 and (is_bare or not _SHORTEST_AGE_S <= seconds <= _LONGEST_AGE_S):
        raise ValueError
    return seconds


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _queue_name(name: str) -> str:
    if "://" in name:  # its password would be the name of a queue, for everyone to see
        raise ValueError("give a name, not a URL")
    if not 1 <= len(name.encode()) <= 255 or name.startswith("amq.") or not name.isprintable():
        raise ValueError
    return name


def _several_urls(value: object) -> object:
    if isinstance(value, str):
        value = urls.split_urls(value)
    if not isinstance(value, (list, tuple)) or not all(isinstance(url, str) for url in value):
        raise ValueError
    return tuple(url for url in (each.strip(" \t\r\n,") for each in value) if url)


def _database_url(url: str) -> str:
    urls.check_database_url(url.strip())
    return url.strip()


def _address(text: str) -> str:
    urls.split_address(text)
    return text


def _path(path: str) -> str:
    if not path.strip() or "://" in path or _PEM in path:
        raise ValueError
    return os.path.expanduser(path)


_Word = BeforeValidator(_lower)
_Count = Annotated[int, BeforeValidator(_whole)]
_QueueName = Annotated[str, AfterValidator(_queue_name)]
_File = Annotated[str, AfterValidator(_path)]
_Seconds = Annotated[float, BeforeValidator(parse_duration_s), Field(ge=0, le=_LONGEST_S)]
#: A delay of zero would be a busy loop.
_Delay = Annotated[float, BeforeValidator(parse_duration_s), Field(ge=0.1, le=_LONGEST_S)]
#: What is older is deleted, so a number that may be meant as days is not taken for seconds.
_Age = Annotated[float, BeforeValidator(_age_s)]
#: How many times something else.
_Factor = Annotated[float, Field(ge=1, le=1000)]
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
    amqp_urls: Annotated[tuple[str, ...], BeforeValidator(_several_urls)] = Field(
        default=(DEFAULT_AMQP_URL,), min_length=1, validate_default=True
    )
    amqp_ca_file: Optional[_File] = None
    amqp_cert_file: Optional[_File] = None
    amqp_key_file: Optional[_File] = None
    tls_insecure: bool = False
    queue: _QueueName = "rasp_data"
    dead_letter_queue: _QueueName = Field(default=_DERIVED, validate_default=True)
    queue_type: Annotated[Literal["classic", "quorum"], _Word] = "classic"
    database_url: Annotated[str, AfterValidator(_database_url)] = Field(default_factory=default_database_url)
    batch_size: _Count = Field(default=500, ge=1, le=10_000)
    prefetch: _Count = Field(default=_DERIVED, ge=1, le=65_535, validate_default=True)
    log_level: Annotated[Literal["debug", "info", "warning", "error"], _Word] = "info"
    log_format: Annotated[Literal["text", "json"], _Word] = "text"
    received_messages_limit: _Count = Field(default=1000, ge=0, le=1_000_000)
    metrics_addr: Optional[Annotated[str, AfterValidator(_address)]] = None
    metrics_devices: _Count = Field(default=0, ge=0, le=10_000)
    interval_s: _Delay = 60.0
    late_after: _Factor = 2.0
    offline_after: _Factor = Field(default=5.0, validate_default=True)
    retention_s: _Age = 30 * 86400.0
    startup_timeout_s: _Seconds = 5.0
    park_after_s: _Seconds = 300.0
    drain_timeout_s: _Seconds = 10.0
    reconnect_max_delay_s: _Delay = 30.0
    database_retry_max_delay_s: _Delay = 5.0

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)
    _notices: tuple[Notice, ...] = PrivateAttr(default=())
    _config_file: Optional[Path] = PrivateAttr(default=None)
    _failpoints: Optional[str] = PrivateAttr(default=None)
    _service_manager: _ServiceManager = PrivateAttr(default=_ServiceManager(None, None))

    @field_validator("amqp_urls")
    @classmethod
    def _final_amqp_urls(cls, amqp_urls: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for url in amqp_urls:
            urls.check_amqp_url(url)
        username, password = info.data.get("amqp_username"), info.data.get("amqp_password")
        return tuple(urls.with_credentials(url, username, password) for url in amqp_urls)

    @field_validator("amqp_key_file")
    @classmethod
    def _key_of_a_certificate(cls, path: Optional[str], info: ValidationInfo) -> Optional[str]:
        if path is not None and info.data.get("amqp_cert_file", path) is None:
            raise ValueError("give its certificate in amqp_cert_file")
        return path

    @field_validator("amqp_ca_file", "amqp_cert_file", "tls_insecure")
    @classmethod
    def _of_use(cls, value: object, info: ValidationInfo) -> object:
        # Whoever sets it believes that the connection is encrypted.
        broker_urls = info.data.get("amqp_urls")
        if value and broker_urls and not any(map(urls.is_encrypted, broker_urls)):
            raise ValueError("it is of use with amqps:// only: give such a URL in amqp_url, or leave it out")
        return value

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

    @field_validator("offline_after")
    @classmethod
    def _not_before_late(cls, factor: float, info: ValidationInfo) -> float:
        if factor < info.data.get("late_after", 1.0):
            raise ValueError
        return factor

    def origin(self, name: str) -> str:
        """Where the value of the setting of this name came from: a flag, a variable, a file, or `default`."""
        return self._origins.get(BY_NAME[name].name, "default")

    def redacted(self, name: str) -> object:
        """The value of the setting of this name, with `***` for passwords."""
        return _redacted(BY_NAME[name], getattr(self, BY_NAME[name].field))

    def shown(self, name: str) -> str:
        """The same as people would write it; empty where there is none."""
        value = self.redacted(name)
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, float):
            return duration_text(value) if BY_NAME[name].field.endswith("_s") else f"{value:g}"
        return "" if value is None else ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)

    @property
    def tls(self) -> Tls:
        """How connections to the broker are secured, where its URL begins with amqps://."""
        return Tls(self.amqp_ca_file, self.amqp_cert_file, self.amqp_key_file, self.tls_insecure)

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What the user should know about this configuration; see `log_notices`."""
        return self._notices

    @property
    def config_file(self) -> Optional[Path]:
        """The config file that was read, if any."""
        return self._config_file

    @property
    def failpoints(self) -> Optional[str]:
        """Faults that a test asks for; see `failpoints`. No setting: a variable that another one must allow."""
        return self._failpoints

    @property
    def notify_socket(self) -> Optional[str]:
        """Where the service manager that started this process listens, if one does. No setting: it says so itself."""
        return self._service_manager.socket

    @property
    def watchdog_s(self) -> Optional[float]:
        """After how long without a word it takes this process for dead."""
        return self._service_manager.watchdog_s

    @property
    def secrets(self) -> frozenset[str]:
        """Every password in every spelling, as it is and percent-encoded, so that output can mask them."""
        passwords = {self.amqp_password or ""}.union(*map(urls.passwords_of, (*self.amqp_urls, self.database_url)))
        return frozenset(spelling for password in passwords for spelling in urls.spellings_of(password) if spelling)

    def __repr_args__(self) -> Iterable[tuple[Optional[str], Any]]:
        for setting in SETTINGS:
            yield setting.field, self.redacted(setting.name)


def _redacted(setting: Setting, value: object) -> object:
    if isinstance(value, str) and _PEM in value:  # a key, where the path of its file should be
        return MASK
    # A URL may also have been given to the wrong setting.
    if isinstance(value, str) and setting.name != "amqp_password" and (setting.secret or "://" in value):
        return urls.redact_url(value)
    if not setting.secret or value is None:
        return value
    return tuple(_redacted(setting, each) for each in value) if isinstance(value, (tuple, list)) else MASK


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
    failpoints = _failpoints(environ, problems)
    given = ChainMap(from_flags, from_environment, from_file)
    config = _validated(given, problems)
    if config is None or problems:
        raise ConfigurationError("\n".join(problems))
    config._origins = {name: value.origin for name, value in given.items()}
    config._notices = (
        *notices.unknown_variables(environ),
        *notices.default_credentials(config.amqp_urls),
        *notices.insecure_tls(config.amqp_urls, config.tls_insecure),
    )
    config._config_file = path
    config._failpoints = failpoints
    config._service_manager = _service_manager(environ)
    return config


def _service_manager(environ: Mapping[str, str]) -> _ServiceManager:
    """As sd_notify(3) and sd_watchdog_enabled(3) have it."""
    microseconds, is_ours = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID") in (None, str(os.getpid()))
    watchdog_s = int(microseconds) / 1e6 if microseconds.isdecimal() and is_ours else None
    return _ServiceManager(environ.get("NOTIFY_SOCKET") or None, watchdog_s)


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
