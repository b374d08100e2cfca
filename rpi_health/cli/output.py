"""Data on stdout: JSON that says everything and can still be looked at, and text on terminals of any encoding."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rpi_health.text import clean, is_plain

if TYPE_CHECKING:
    from rich.console import RenderableType

# Outside of its texts, JSON is plain ASCII: what is none stands in a text, and may be escaped.
_NOT_PLAIN = re.compile("[^ -~]")
_FORMULA = tuple("=+-@\t\r")


def json_array(objects: Iterable[Mapping[str, Any]]) -> str:
    """One line of JSON, which stdout can encode, with instants in ISO 8601, UTC.

    What could act on a terminal is escaped, and so is what would not show.
    """
    return f"[{', '.join(map(_to_json, objects))}]"


def json_object(value: Mapping[str, Any]) -> str:
    """The same for one object."""
    return _to_json(value)


def csv_lines(heading: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Comma-separated values (RFC 4180) under a heading; None as nothing, all else as in JSON.

    What could act on a terminal, or is not in the encoding of stdout, is escaped. Text that a spreadsheet would take
    for a formula begins with a `'`.
    """
    with io.StringIO() as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(heading)
        writer.writerows([_cell(value) for value in row] for row in rows)
        return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return f"'{_fitted(value)}" if value[:1] in _FORMULA else _fitted(value)
    if isinstance(value, (bool, dict, list)):
        return _fitted(_ENCODER.encode(value))
    return _instant(value) if isinstance(value, datetime) else value


def _fitted(text: str) -> str:
    """The text as `clean` has it, with what stdout cannot encode escaped as well."""
    encoding = _encoding()
    return clean(text).encode(encoding, "backslashreplace").decode(encoding)


def _to_json(value: Mapping[str, Any]) -> str:
    text = _ENCODER.encode(value)
    return text if _shows(text) else _NOT_PLAIN.sub(lambda match: _shown(match[0]), text)


def _shown(char: str) -> str:
    return char if _shows(char) else json.dumps(char)[1:-1]


def _shows(text: str) -> bool:
    return is_plain(text) and _fits(text)


def _fits(text: str) -> bool:
    try:
        text.encode(_encoding())
    except UnicodeEncodeError:
        return False
    return True


def _encoding() -> str:
    return getattr(sys.stdout, "encoding", None) or "utf-8"


def _instant(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    raise TypeError(f"{type(value).__name__} is not JSON")


_ENCODER = json.JSONEncoder(ensure_ascii=False, default=_instant)


def forgive_encoding() -> None:
    """Let stdout write `?` for what its encoding lacks, such as the ° of a temperature in ASCII."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")


def print_rich(what: RenderableType, **options: Any) -> None:
    """Print what rich renders, as it is: no number or path in it gets a colour of rich's own.

    Args:
        options: of `rich.console.Console`.
    """
    from rich.console import Console

    forgive_encoding()
    Console(highlight=False, **options).print(what)
