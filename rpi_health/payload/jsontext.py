"""Bytes to one JSON object: compression, charset and grammar.

Ordinary JSON is read by `pydantic_core`, in half the time that `json` takes; the rest by `json`, with care.
Strict about JSON's grammar, forgiving about what real producers get wrong inside strings and numbers; linear in the
size of the body, however hostile. Knows nothing of reports, but that `id` may not be given twice.
"""

from __future__ import annotations

import codecs
import json
import re
import zlib
from typing import Any

import pydantic_core

from rpi_health.errors import Rejection
from rpi_health.text import clean

MAX_BODY_BYTES = 262_144
MAX_INFLATED_BYTES = 1_048_576
MAX_DEPTH = 32

_GZIP_MAGIC = b"\x1f\x8b"
_MAX_GZIP_MEMBERS = 100  # each one costs a copy of all that follow it
_PLAIN_ENCODINGS = ("", "utf-8", "utf8", "identity", "gzip", "x-gzip")
# UTF-32 first: its little-endian mark begins with that of UTF-16.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NOT_BRACKETS = re.compile(r"[^\[\]{}]+")
_STEPS = {"[": 1, "{": 1, "]": -1, "}": -1}
# The closing quote is optional so that an unterminated string is one match, not a failure at each of its quotes.
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_STRING_OR_BRACKET = re.compile(_STRING.pattern + r"|[\[\]{}]", re.DOTALL)
_RAW_WHITESPACE = str.maketrans("\t\n\r", "\0\0\0")

# Below this length, an integer is cheap to read whatever its digits.
_SHORT_TEXT = 4096
# Python refuses to read more digits than its limit, which is never below 640 (and has none, at quadratic cost, if old).
_MAX_DIGITS = 639
_ENORMOUS = 10**_MAX_DIGITS


#: A body, read: the JSON object; the length of its text, in characters (or bytes, where there are as many or fewer
#: characters); and whether bytes that were not UTF-8 have become U+FFFD. Strings in the object may hold controls and
#: lone surrogates, numbers may be infinite or NaN, an integer of 640 digits or more is one of 640 digits.
Loaded = tuple[dict[str, Any], int, bool]


def load(body: bytes, content_encoding: str | None = None) -> Loaded:
    """Read a body as one JSON object.

    Args:
        body: as received: JSON text in UTF-8, or in UTF-16 or UTF-32 with a byte order mark; or that, gzipped.
        content_encoding: the AMQP property. Consulted only to say why a body is not JSON.

    Raises:
        Rejection: too_large, too_deep, bad_content_encoding, bad_encoding, bad_json, not_object, or bad_device_id where
            `id` is given twice with different values.
    """
    if len(body) > MAX_BODY_BYTES:
        raise Rejection("too_large", f"{len(body)} bytes: more than {MAX_BODY_BYTES}")
    document = _load_ordinary(body)
    return _load_unusual(body, content_encoding) if document is None else (document, len(body), False)


def _load_ordinary(body: bytes) -> dict[str, Any] | None:
    """Read what nearly all producers send. None for everything else, good or bad: `_load_unusual` then judges it."""
    if len(body) > _SHORT_TEXT or body.count(b"[") + body.count(b"{") > MAX_DEPTH or _may_repeat_id(body):
        return None
    try:
        document = pydantic_core.from_json(body)
    except ValueError:
        return None
    return document if type(document) is dict else None


def _load_unusual(body: bytes, content_encoding: str | None) -> Loaded:
    if body.startswith(_GZIP_MAGIC):
        body = _inflate(body)
    text, flaw = _decode(body)
    try:
        document = _parse(text)
    except json.JSONDecodeError as error:
        raise _not_json(error, flaw, content_encoding) from error
    if not isinstance(document, dict):
        raise Rejection("not_object", f"the JSON text is {describe(document)}, not an object")
    return document, len(text), flaw is not None


def describe(value: object) -> str:
    """Name the JSON type of a value: `a boolean`, `an object` …"""
    return _TYPE_NAMES.get(type(value), "a value of another type")


_TYPE_NAMES: dict[type, str] = {
    dict: "an object",
    list: "a list",
    str: "text",
    int: "an integer",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
}


def _inflate(body: bytes) -> bytes:
    """Undo gzip, of one member or several, without ever holding more than `MAX_INFLATED_BYTES` and one."""
    inflated = b""
    for _ in range(_MAX_GZIP_MEMBERS):
        member = zlib.decompressobj(wbits=31)
        try:
            inflated += member.decompress(body, MAX_INFLATED_BYTES + 1 - len(inflated))
        except zlib.error as error:
            raise Rejection("bad_content_encoding", clean(f"broken gzip: {error}", 300)) from error
        if len(inflated) > MAX_INFLATED_BYTES:
            raise Rejection("too_large", f"inflates to more than {MAX_INFLATED_BYTES} bytes")
        if not member.eof:
            raise Rejection("bad_content_encoding", "truncated gzip")
        body = member.unused_data.lstrip(b"\0")  # gzip allows padding
        if not body:
            return inflated
    raise Rejection("bad_content_encoding", f"more than {_MAX_GZIP_MEMBERS} gzip members")


def _decode(body: bytes) -> tuple[str, UnicodeDecodeError | None]:
    """Decode by the byte order mark, else as UTF-8: there, U+FFFD takes the place of a flaw, and the flaw is told."""
    charset = next((charset for mark, charset in _BYTE_ORDER_MARKS if body.startswith(mark)), "utf-8")
    try:
        return body.decode(charset), None
    except UnicodeDecodeError as flaw:
        if charset in ("utf-16", "utf-32"):
            raise Rejection("bad_encoding", f"not {charset.upper()} in spite of its mark: {_where(flaw)}") from flaw
        return body.decode(charset, "replace"), flaw


def _parse(text: str) -> Any:
    """Parse, raw control characters in strings allowed: those that are whitespace elsewhere come out as NUL.

    Raises:
        json.JSONDecodeError: it is not JSON.
        Rejection: too_deep, bad_device_id.
    """
    _check_depth(text)
    try:
        return _parse_shallow(text, strict=True)
    except json.JSONDecodeError:
        return _parse_shallow(_STRING.sub(_mark_raw_whitespace, text), strict=False)


def _check_depth(text: str) -> None:
    """Refuse what nests too deeply, before the parser meets it: that one recurses.

    The text may be no JSON at all; if something else is wrong before the nesting, then that is raised.
    """
    if _is_surely_shallow(text):
        return
    position = _first_too_deep(text)
    if position is None:
        return
    try:
        _parse_shallow(text[:position], strict=False)
    except json.JSONDecodeError as error:
        if error.pos < position:
            raise
    raise Rejection("too_deep", f"nested deeper than {MAX_DEPTH} at character {position}")


def _is_surely_shallow(text: str) -> bool:
    """Tell quickly that a text does not nest too deeply: its brackets pair off, at most two levels at a time."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return True
    unescaped = text.replace("\\\\", "").replace('\\"', "") if "\\" in text else text
    brackets = _NOT_BRACKETS.sub("", "".join(unescaped.split('"')[::2]))
    for _ in range(MAX_DEPTH // 2):
        brackets = brackets.replace("[]", "").replace("{}", "")
        if not brackets:
            return True
    return False


def _first_too_deep(text: str) -> int | None:
    """Find the first bracket that nests too deeply, if there is one."""
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(text):
        depth += _STEPS.get(token.group()[0], 0)
        if depth > MAX_DEPTH:
            return token.start()
    return None


def _parse_shallow(text: str, *, strict: bool) -> Any:
    """Parse text of bounded depth; see that `id` is not given twice with different values."""
    objects = _Objects() if _may_repeat_id(text.encode(errors="replace")) else None
    decoder = json.JSONDecoder(strict=strict, parse_int=_read_integer, object_pairs_hook=objects)
    document = decoder.decode(text)
    if objects is not None and isinstance(document, dict):
        _check_id_is_one(objects.last)
    return document


class _Objects:
    """Remembers the members of the object that was completed last: after parsing, the outermost."""

    last: list[tuple[str, Any]]

    def __call__(self, members: list[tuple[str, Any]]) -> dict[str, Any]:
        self.last = members
        return dict(members)


def _may_repeat_id(body: bytes) -> bool:
    # An escaped spelling of the key needs \u0069 or \u0064. To look for one byte first is a tenth of the time.
    return body.count(b'"id"') > 1 or (b"\\" in body and b"\\u006" in body)


def _check_id_is_one(members: list[tuple[str, Any]]) -> None:
    ids = [value for key, value in members if key == "id"]
    if any(type(value) is not type(ids[0]) or value != ids[0] for value in ids):
        raise Rejection("bad_device_id", "id: given twice with different values")


def _read_integer(digits: str) -> int:
    return int(digits) if len(digits) <= _MAX_DIGITS else _ENORMOUS


def _mark_raw_whitespace(string: re.Match[str]) -> str:
    return string.group().translate(_RAW_WHITESPACE)


def _not_json(error: json.JSONDecodeError, flaw: UnicodeDecodeError | None, content_encoding: str | None) -> Rejection:
    """Say why a body is not JSON: as announced, the encoding is unknown; or the charset is; or the grammar is wrong."""
    announced = str(content_encoding or "").strip().lower()
    if announced not in _PLAIN_ENCODINGS:
        return Rejection("bad_content_encoding", f"{clean(announced, 100)}: unknown, and the body is not JSON as it is")
    if flaw is not None:
        return Rejection("bad_encoding", f"neither UTF-8 nor JSON: {_where(flaw)}")
    return Rejection("bad_json", clean(f"{error.msg}: line {error.lineno} column {error.colno}", 300))


def _where(flaw: UnicodeDecodeError) -> str:
    return f"{clean(flaw.reason, 100)} at byte {flaw.start}"
