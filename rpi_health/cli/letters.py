"""Dead letters as lines of JSON, which say all of them: what `dead export` writes and `dead import` reads."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timezone
from typing import Any

from rpi_health.delivery import DeadLetter, Properties

_OTHERS = ("reason", "detail", "queue", "received_at", "redelivered", "retries")


def to_line(letter: DeadLetter) -> str:
    """One line of JSON, plain ASCII. A body that is UTF-8 stands as text, another one in base64."""
    fields: dict[str, Any] = {"id": letter.id, **{name: getattr(letter, name) for name in _OTHERS}}
    fields["properties"] = {name: value for name, value in letter.properties._asdict().items() if value is not None}
    try:
        fields["body"] = letter.body.decode()
    except UnicodeDecodeError:
        fields["body_base64"] = base64.b64encode(letter.body).decode()
    return json.dumps(fields, default=_tagged)


def from_line(line: str) -> DeadLetter:
    """What `to_line` made a line of.

    Raises:
        ValueError: the line is none of those; the message says what is wrong with it.
    """
    fields = json.loads(line, object_hook=_untagged)
    if not isinstance(fields, dict):
        raise ValueError("it is not an object")
    try:
        body = fields["body"].encode() if "body" in fields else base64.b64decode(fields["body_base64"], validate=True)
        properties = Properties(**fields["properties"])
        reason, detail, queue, received_at, redelivered, retries = (fields[name] for name in _OTHERS)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is not what `dead export` writes ({error})") from error
    return DeadLetter(
        0, str(reason), str(detail), str(queue), str(received_at), bool(redelivered), int(retries), properties, body
    )


def _tagged(value: object) -> dict[str, Any]:
    """What AMQP knows and JSON does not, in headers."""
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, datetime):
        return {"$time": value.isoformat()}
    return {"$text": str(value)}


def _untagged(value: dict[str, Any]) -> Any:
    if value.keys() == {"$bytes"}:
        return base64.b64decode(value["$bytes"])
    if value.keys() == {"$time"}:
        at = datetime.fromisoformat(value["$time"])
        return at if at.tzinfo else at.replace(tzinfo=timezone.utc)
    return value["$text"] if value.keys() == {"$text"} else value
