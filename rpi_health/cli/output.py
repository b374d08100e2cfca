"""Data on stdout: JSON that says everything and can still be looked at, and text on terminals of any encoding."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Any

from rpi_health.text import has_hidden


def to_json(value: Any) -> str:
    """One line of JSON, which stdout can encode, with instants in ISO 8601, UTC.

    What could act on a terminal is escaped, and so is what would not show.
    """
    text = json.dumps(value, ensure_ascii=False, default=_instant)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    if _shows(text) and _fits(text, encoding):
        return text
    # Outside of texts JSON is plain ASCII: what is escaped here stands in one.
    return "".join([char if _shows(char) and _fits(char, encoding) else json.dumps(char)[1:-1] for char in text])


def _shows(text: str) -> bool:
    return text.isprintable() and not has_hidden(text)


def _instant(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    raise TypeError(f"{type(value).__name__} is not JSON")


def _fits(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def forgive_encoding() -> None:
    """Let stdout write `?` for what its encoding lacks, such as the ° of a temperature in ASCII."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")
