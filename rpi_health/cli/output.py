"""Data on stdout: JSON that says everything and can still be looked at in a terminal."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any


def to_json(value: Any) -> str:
    """One line of JSON. Instants in ISO 8601, UTC; characters that could act on a terminal are escaped."""
    text = json.dumps(value, ensure_ascii=False, default=_instant)
    return text if text.isprintable() else "".join(map(_printable, text))


def _instant(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    raise TypeError(f"{type(value).__name__} is not JSON")


def _printable(character: str) -> str:
    return character if character.isprintable() else json.dumps(character)[1:-1]
