"""The configuration as one checked whole: what is right, what follows from what, and how it is shown.

Reads nothing: where the values come from is the business of `config`. No message and no representation of it shows a
password.
"""

from __future__ import annotations

import os
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
    ValidationInfo,
    field_validator,
)

from rpi_health import urls
from rpi_health.durations import duration_text, parse_duration_s
from rpi_health.notices import Notice
from rpi_health.settings import BY_NAME, DEFAULT_AMQP_URL, SETTINGS, Setting
from rpi_health.tls import Tls
from rpi_health.urls import MASK

APP = "rpi-health"

_PEM = "-----BEGIN"
_LONGEST_S = 7 * 86400.0
_SHORTEST_AGE_S, _LONGEST_AGE_S = 3600.0, 3650 * 86400.0


class Circumstances(NamedTuple):
    """What was found beside the values, when they were read.

    Args:
        origins: where each setting that is no default came from, by name.
        notices: what the user should know.
        config_file: the one that was read.
        failpoints: faults that a test asks for. No setting: a variable that another one must allow.
        notify_socket: where the service manager that started this process listens. No setting: it says so itself.
        watchdog_s: after how long without a word it takes this process for dead.
    """

    origins: Mapping[str, str] = {}
    notices: tuple[Notice, ...] = ()
    config_file: Optional[Path] = None
    failpoints: Optional[str] = None
    notify_socket: Optional[str] = None
    watchdog_s: Optional[float] = None


_NONE = Circumstances()


def default_database_url() -> str:
    """An SQLite file in the user's data folder. The folder need not exist."""
    return f"sqlite:///{platformdirs.user_data_path(APP) / 'rpi-health.sqlite3'}"


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
    if not path.strip() or "\0" in path or "://" in path or _PEM in path:
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

    _circumstances: Circumstances = PrivateAttr(default=_NONE)

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
        # Whoever gives a certificate believes that every connection is encrypted.
        broker_urls = info.data.get("amqp_urls")
        enough = any if info.field_name == "tls_insecure" else all
        if value and broker_urls and not enough(map(urls.is_encrypted, broker_urls)):
            raise ValueError("it is of use with amqps:// only: give nothing else in amqp_url, or leave it out")
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

    def found_in(self, circumstances: Circumstances) -> Config:
        """Note how it was found. Returns itself."""
        self._circumstances = circumstances
        return self

    def origin(self, name: str) -> str:
        """Where the value of the setting of this name came from: a flag, a variable, a file, or `default`."""
        return self._circumstances.origins.get(BY_NAME[name].name, "default")

    def redacted(self, name: str) -> object:
        """The value of the setting of this name, with `***` for passwords."""
        return redacted(BY_NAME[name], getattr(self, BY_NAME[name].field))

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
        return self._circumstances.notices

    @property
    def config_file(self) -> Optional[Path]:
        """The config file that was read, if any."""
        return self._circumstances.config_file

    @property
    def failpoints(self) -> Optional[str]:
        """Faults that a test asks for; see `failpoints`. No setting: a variable that another one must allow."""
        return self._circumstances.failpoints

    @property
    def notify_socket(self) -> Optional[str]:
        """Where the service manager that started this process listens, if one does. No setting: it says so itself."""
        return self._circumstances.notify_socket

    @property
    def watchdog_s(self) -> Optional[float]:
        """After how long without a word it takes this process for dead."""
        return self._circumstances.watchdog_s

    @property
    def secrets(self) -> frozenset[str]:
        """Every password in every spelling, as it is and percent-encoded, so that output can mask them."""
        passwords = {self.amqp_password or ""}.union(*map(urls.passwords_of, (*self.amqp_urls, self.database_url)))
        return frozenset(spelling for password in passwords for spelling in urls.spellings_of(password) if spelling)

    def __repr_args__(self) -> Iterable[tuple[Optional[str], Any]]:
        for setting in SETTINGS:
            yield setting.field, self.redacted(setting.name)


def redacted(setting: Setting, value: object) -> object:
    """A value of this setting, right or not, without what must not be shown."""
    if isinstance(value, str) and _PEM in value:  # a key, where the path of its file should be
        return MASK
    # A URL may also have been given to the wrong setting.
    if isinstance(value, str) and setting.name != "amqp_password" and (setting.secret or "://" in value):
        return urls.redact_url(value)
    if not setting.secret or value is None:
        return value
    return tuple(redacted(setting, each) for each in value) if isinstance(value, (tuple, list)) else MASK
