"""Log lines: text for people or JSON for machines, on stderr, without passwords and safe to show.

Called by the command line only: a program that embeds rpi-health sets up logging itself. Touches the loggers
`rpi_health` and `pika`, never the root. A line is a constant sentence; what varies is in its fields:
`logger.warning("dead-lettered message", extra={"event": "dead_lettered", "reason": reason})`.
"""

from __future__ import annotations

import io
import json
import logging
import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, TextIO
from urllib.parse import quote, quote_plus, unquote

from pythonjsonlogger.json import JsonFormatter

from rpi_health.text import clean
from rpi_health.urls import MASK

if TYPE_CHECKING:
    _StreamHandler = logging.StreamHandler[TextIO]
else:
    _StreamHandler = logging.StreamHandler  # not subscriptable before Python 3.11

#: A shorter password is masked only where it stands as a password: `1234` is also a number like any other.
SHORTEST_SECRET_MASKED_EVERYWHERE = 6
#: Characters of one field in a text line.
FIELD_LIMIT = 500
#: Levels of nesting of a field in a JSON line; also what ends a circular one.
_DEPTH = 6
_SHORT_LEVELS = {"WARNING": "WARN", "CRITICAL": "FATAL"}
_RECORD_ATTRIBUTES = {*logging.makeLogRecord({}).__dict__, "message", "asctime", "taskName"}


def setup(level: str, format: str, secrets: Iterable[str] = (), *, stream: TextIO | None = None) -> None:
    """Write the lines of rpi-health to stderr, and to nowhere else. May be called again to change its mind.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        format: `text` or `json`.
        secrets: what must not appear in any line, see `Config.secrets`.
        stream: where to write instead of stderr.
    """
    redact = redactor(secrets)
    # Without a stderr (2>&-) there is nobody to tell; the command works all the same.
    handler = _Handler(stream or sys.stderr or io.StringIO())
    handler.setFormatter(JsonLineFormatter(redact) if format == "json" else TextLineFormatter(redact))
    # pika logs each lost connection as errors with tracebacks; what matters of it is logged by the broker's own module.
    pika_level = logging.INFO if level == "debug" else logging.CRITICAL
    for name, its_level in (("rpi_health", level.upper()), ("pika", pika_level)):
        logger = logging.getLogger(name)
        for other in [each for each in logger.handlers if isinstance(each, _Handler)]:
            logger.removeHandler(other)
        logger.addHandler(handler)
        logger.setLevel(its_level)
        logger.propagate = False


class _Handler(_StreamHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (overridden)
        """Say that a line was lost, and not what it said: logging's own report shows the arguments unmasked."""
        kind = getattr(sys.exc_info()[0], "__name__", "error")
        try:
            self.stream.write(f"a log line of {record.name}:{record.lineno} could not be written ({kind})\n")
        except (OSError, ValueError):
            return  # stderr is closed or full: there is nobody left to tell


# ── Formats ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class TextLineFormatter(logging.Formatter):
    """`2026-11-22T12:03:44Z INFO  stored batch  messages=500 ms=12`: time (UTC), level, sentence, fields, traceback."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        level = _SHORT_LEVELS.get(record.levelname, record.levelname)
        line = f"{_utc(record, 'seconds')} {level:<5} {clean(self._redact(record.getMessage()))}"
        fields = [f"{key}={self._value(value)}" for key, value in _fields(record).items() if key != "event"]
        if fields:
            line += "  " + " ".join(fields)
        # Indented: a line of a message inside a traceback could be taken for a line of the log.
        return "\n".join([line, *("  " + clean(each) for each in self._redact(_traceback(self, record)).splitlines())])

    def _value(self, value: object) -> str:
        text = clean(self._redact(_text(value)), FIELD_LIMIT)
        return text if re.fullmatch(r"[^\s\"=]+", text) else _quoted(text)


class JsonLineFormatter(JsonFormatter):
    """One JSON object a line: `time` (RFC 3339, UTC), `level`, `logger`, `event`, `message`, then the fields."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        super().__init__()
        self._redact = redact

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        log_data.update(
            time=_utc(record, "milliseconds"),
            level=record.levelname.lower(),
            logger=record.name,
            event=getattr(record, "event", None),
            message=record.getMessage(),
        )
        # A field never hides one of ours, nor is it lost: it gets another name.
        for key, value in {**message_dict, **_fields(record)}.items():
            if key != "event":
                log_data[f"{key}_" if key in log_data else key] = value

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        # Before the text is escaped for JSON, after which a password with quotes would not be found.
        return {key: self._plain(value) for key, value in log_data.items()}

    def _plain(self, value: object, depth: int = 0) -> object:
        """The value as JSON can hold it: finite, of plain types, not circular, every text redacted."""
        if value is None or isinstance(value, bool):
            return value
        if (isinstance(value, int) and abs(value) < 2**63) or (isinstance(value, float) and math.isfinite(value)):
            return value
        if isinstance(value, Mapping) and depth < _DEPTH:
            return {self._redact(_text(key)): self._plain(each, depth + 1) for key, each in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)) and depth < _DEPTH:
            return [self._plain(each, depth + 1) for each in value]
        return self._redact(_text(value))


def _quoted(text: str) -> str:
    """The text in quotes that none of its own can end. Backslashes are doubled only before a quote, for legibility."""
    return '"' + re.sub(r'(\\*)("|\Z)', lambda end: 2 * end[1] + (r"\"" if end[2] else ""), text) + '"'


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in record.__dict__.items() if key not in _RECORD_ATTRIBUTES}


def _utc(record: logging.LogRecord, precision: str) -> str:
    moment = datetime.fromtimestamp(record.created, timezone.utc)
    return moment.isoformat(timespec=precision).replace("+00:00", "Z")


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts = [formatter.formatException(record.exc_info) if record.exc_info else record.exc_text, record.stack_info]
    return "\n".join(part for part in parts if part)


def _text(value: object) -> str:
    """The value as text that every encoding can write. Never raises, whatever the value's own `__str__` does."""
    try:
        if isinstance(value, datetime):
            text = value.isoformat()
        else:
            text = repr(value) if isinstance(value, bytes) else str(value)
    except Exception:
        return f"<{type(value).__name__} that cannot be shown>"
    return text.encode("utf-8", "backslashreplace").decode()


# ── Redaction ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def redactor(secrets: Iterable[str]) -> Callable[[str], str]:
    """A function that puts `***` for each secret in a text, and for the password of any URL.

    Args:
        secrets: passwords. One of `SHORTEST_SECRET_MASKED_EVERYWHERE` characters or more is masked wherever it appears,
            in any spelling; a shorter one only as `:password@` or `password=...`.
    """
    spellings = {spelling for secret in secrets for spelling in _spellings(secret) if spelling}
    long = [spelling for spelling in spellings if len(spelling) >= SHORTEST_SECRET_MASKED_EVERYWHERE]
    # Up to the last @, for a password may hold any unescaped character; but digits before a / are a port.
    patterns = [re.compile(r"(\b[A-Za-z][A-Za-z0-9+.-]*://[^\s:/@?#]*:)(?!\d*(?:[/?#\s]|\Z))(?:(?!://)\S)+(?=@)")]
    if long:
        patterns.insert(0, re.compile(f"(){_any_of(long)}"))
    if spellings:
        patterns.append(re.compile(f"(:){_any_of(spellings)}(?=@)"))
        patterns.append(re.compile(rf"((?:passw(?:or)?d|pwd)['\"]?\s*[=:]\s*['\"]?){_any_of(spellings)}(?!\w)", re.I))

    def redact(text: str) -> str:
        for pattern in patterns:
            text = pattern.sub(rf"\g<1>{MASK}", text)
        return text

    return redact


def _any_of(texts: Iterable[str]) -> str:
    # The longest first, for one may begin with another.
    return f"(?:{'|'.join(re.escape(text) for text in sorted(texts, key=len, reverse=True))})"


def _spellings(secret: str) -> set[str]:
    """As it is, percent-encoded, and as `repr` (of text and of bytes) and JSON write it."""
    spellings = set()
    for plain in (secret, unquote(secret)):
        raw = plain.encode("utf-8", "backslashreplace")
        spellings |= {plain, quote(raw), quote(raw, safe=""), quote_plus(raw)}
        spellings |= {repr(plain)[1:-1], ascii(plain)[1:-1], json.dumps(plain)[1:-1], repr(raw)[2:-1]}
    return spellings
