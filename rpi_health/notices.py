"""What a user should know about a configuration though it stops nothing: a misspelt variable, a well-known password.

Pure: sees the names of the variables and the final broker URLs; reads no environment and writes no log.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from rpi_health.events import DEFAULT_CREDENTIALS, TLS_INSECURE, UNKNOWN_VARIABLE, Event
from rpi_health.settings import (
    CONFIG_FILE,
    DEFAULT_PASSWORD,
    DEFAULT_USERNAME,
    ENVIRONMENT_PREFIX,
    FAILPOINTS,
    FAILPOINTS_ALLOWED,
    SETTINGS,
)
from rpi_health.urls import is_encrypted, is_local


class Notice(NamedTuple):
    """A warning: the event, and the fields of its log line."""

    event: Event
    fields: Mapping[str, Any]


def unknown_variables(names: Iterable[str]) -> Iterator[Notice]:
    """A notice for each variable that looks like a setting and is none."""
    known = {CONFIG_FILE.environment, FAILPOINTS, FAILPOINTS_ALLOWED, *(setting.environment for setting in SETTINGS)}
    known |= {setting.file_environment for setting in SETTINGS if setting.from_file}
    for name in sorted(set(names) - known):
        if name.startswith(ENVIRONMENT_PREFIX):
            close = difflib.get_close_matches(name, sorted(known), n=1)
            hint = {"did_you_mean": close[0]} if close else {}
            yield Notice(UNKNOWN_VARIABLE, {"variable": name, **hint})


def default_credentials(amqp_urls: Iterable[str]) -> Iterator[Notice]:
    """A notice for each broker that is not local and gets the credentials that everyone knows."""
    for url in amqp_urls:
        parts = urlsplit(url)
        known = (unquote(parts.username or ""), unquote(parts.password or "")) == (DEFAULT_USERNAME, DEFAULT_PASSWORD)
        if known and not is_local(parts.hostname):
            yield Notice(DEFAULT_CREDENTIALS, {"host": parts.hostname or ""})


def insecure_tls(amqp_urls: Iterable[str], insecure: bool) -> Iterator[Notice]:
    """A notice for each broker whose certificate nobody looks at, though it is asked for one."""
    for url in filter(is_encrypted, amqp_urls if insecure else ()):
        yield Notice(TLS_INSECURE, {"host": urlsplit(url).hostname or ""})
