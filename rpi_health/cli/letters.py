"""Dead letters as lines of JSON, which say all of them: what `dead export` writes and `dead import` reads."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

from rpi_health.delivery import DeadLetter, Properties

_TEXTS = ("reason", "detail", "queue", "received_at")
_PROPERTIES: dict[str, type] = {
    **dict.fromkeys(("content_type", "content_encoding", "correlation_id", "reply_to", "message_id"), str),
    **dict.fromkeys(("type", "app_id", "cluster_id"), str),
    **dict.fromkeys(("priority", "timestamp"), int),
    "headers": dict,
}
_MOST = {"priority": 255, "timestamp": 2**64 - 1}


def to_line(letter: DeadLetter) -> str:
    """One line of JSON, plain ASCII. A body that is UTF-8 stands as text, another one in base64.

    What AMQP knows in headers and JSON does not is an object with one key: `$bytes`, `$time`, `$decimal`; and `$table`
    where an object would look like one of these, or has keys that are no text.
    """
    sent = {name: _plain(value) for name, value in letter.properties._asdict().items() if value is not None}
    fields = {"id": letter.id, **{name: getattr(letter, name) for name in (*_TEXTS, "redelivered", "retries")}}
    try:
        body = {"body": letter.body.decode()}
    except UnicodeDecodeError:
        body = {"body_base64": base64.b64encode(letter.body).decode()}
    return json.dumps({**fields, "properties": sent, **body})


def from_line(line: str) -> DeadLetter:
    """What `to_line` made a line of.

    Raises:
        ValueError: the line is none of those; the message says what is wrong with it.
    """
    fields = json.loads(line)
    try:
        properties = Properties(**{name: _restored(value) for name, value in fields["properties"].items()})
        body = fields["body"].encode() if "body" in fields else base64.b64decode(fields["body_base64"], validate=True)
        others = {name: fields[name] for name in (*_TEXTS, "redelivered", "retries")}
        letter = DeadLetter(tag=0, properties=properties, body=body, **others)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"it is not what `dead export` writes ({type(error).__name__}: {error})") from error
    _check(letter)
    return letter


def _check(letter: DeadLetter) -> None:
    """Raise ValueError where AMQP could not carry it."""
    texts: dict[str, Any] = {name: getattr(letter, name) for name in _TEXTS}
    sent: dict[str, Any] = {name: value for name, value in letter.properties._asdict().items() if value is not None}
    for name, value in {**texts, **sent}.items():
        kind: Any = _PROPERTIES.get(name, str)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ValueError(f"{name} is not what it should be")
        if kind is int and not 0 <= value <= _MOST[name]:
            raise ValueError(f"{name} is out of range")
        if kind is str and len(value.encode(errors="replace")) > (255 if name in sent else 1000):
            raise ValueError(f"{name} is too long")
        if kind is str and value != value.encode(errors="replace").decode():
            raise ValueError(f"{name} is not text")
    if not isinstance(letter.redelivered, bool):
        raise ValueError("redelivered is neither true nor false")
    if not isinstance(letter.retries, int) or isinstance(letter.retries, bool):
        raise ValueError("retries is no whole number")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        if all(isinstance(name, str) and not name.startswith("$") for name in value):
            return {name: _plain(each) for name, each in value.items()}
        return {"$table": [[_plain(name), _plain(each)] for name, each in value.items()]}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, datetime):
        return {"$time": value.isoformat()}
    return {"$decimal": str(value)} if isinstance(value, Decimal) else value


def _restored(value: Any) -> Any:
    if isinstance(value, list):
        return [_restored(each) for each in value]
    if not isinstance(value, dict):
        return value
    kind: str
    inner: Any
    kind, inner = next(iter(value.items())) if len(value) == 1 else ("", None)
    if kind == "$table":
        return {_restored(name): _restored(each) for name, each in inner}
    if kind == "$bytes":
        return base64.b64decode(inner, validate=True)
    if kind == "$time":
        at = datetime.fromisoformat(inner)
        return at if at.tzinfo else at.replace(tzinfo=timezone.utc)
    if kind == "$decimal":
        return Decimal(inner)
    return {name: _restored(each) for name, each in value.items()}
