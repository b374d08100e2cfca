"""How a report's fields are read: for each kind of value, from what JSON gives to what a column takes.

Values are as the parser gave them: of any type, infinite or NaN, with controls and surrogates. Knows no keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Any, Callable, NamedTuple

from rpi_health.payload.jsontext import describe
from rpi_health.text import clean, storable


class Kind(NamedTuple):
    """A kind of value.

    Args:
        read: ``read(value, bound, problems)`` returns the column's value, or None (SQL NULL) where the value cannot be
            read; whatever was lost or changed on the way is added to `problems`, in words that follow "<key>: ". The
            value is never None.
        are_plain: ``are_plain(values, bound)`` tells, quickly, whether `read` would return each of these values (at
            least one) as it is, without a problem. False also where only `read` can tell.
    """

    read: Callable[[Any, int, list[str]], Any]
    are_plain: Callable[[Sequence[Any], int], bool]


MAX_INT32 = 2**31 - 1
MAX_INT64 = 2**63 - 1
#: Integers outside are refused by one database or another, or silently become floats.
MIN_JSON_INTEGER = -(2**63)
MAX_JSON_INTEGER = 2**64 - 1
#: MySQL ends at 65,535 bytes.
MAX_KEY_LENGTH = 256

_INTEGER_TEXT = re.compile(r"[+-]?[0-9]+")
_NUMBER_TEXT = re.compile(r"([+-]?[0-9]+(?:[.,][0-9]+)?(?:[eE][+-]?[0-9]+)?)( ?%)?")
_LONGEST_NUMBER = 64  # characters; a bound for what is converted

_OUT_OF_RANGE = "integer out of range"
_NOT_FINITE = "not a finite number"
_CONTROLS_REMOVED = "control characters or lone surrogates removed"

_SWITCH_TEXTS = {"true": True, "false": False, "1": True, "0": False, "on": True, "off": False}


def _text(value: Any, length: int, problems: list[str]) -> str | None:
    """Read text of at most `length` characters; what is longer is cut."""
    if type(value) is not str:
        problems.append(f"{describe(value)} where text is expected")
        return None
    found: str = value if value.isprintable() else without_controls(value, problems)
    if len(found) > length:
        problems.append(f"cut to {length} characters")
        return found[:length]
    return found


def _text_or_number(value: Any, length: int, problems: list[str]) -> str | None:
    """Read text, or a number as the text of it."""
    if type(value) is int or type(value) is float:
        return repr(value) if is_number(value, problems) else None
    return _text(value, length, problems)


def _number(value: Any, _bound: int, problems: list[str]) -> float | None:
    """Read a finite number, or the text of one: `12.5`, `12,5`, `12.5%`."""
    if type(value) is float and isfinite(value):
        found: float | None = value
        return found
    if type(value) is float or type(value) is int:
        return float(value) if is_number(value, problems) else None
    if type(value) is not str:
        problems.append(f"{describe(value)} where a number is expected")
        return None
    match = _NUMBER_TEXT.fullmatch(value.strip()) if len(value) <= _LONGEST_NUMBER else None
    found = float(match[1].replace(",", ".")) if match else None
    if found is None or not isfinite(found):
        problems.append(f"'{clean(value, 40)}' is not a number")
        return None
    return found


def _positive(value: Any, bound: int, problems: list[str]) -> float | None:
    """Read a finite number above 0, or the text of one."""
    found = _number(value, bound, problems)
    if found is not None and found <= 0:
        problems.append("not above 0")
        return None
    return found


def _count(value: Any, maximum: int, problems: list[str]) -> int | None:
    """Read an integer from 0 to `maximum`, or a number or a text that is one: `3`, `3.0`, `"3"`."""
    found: int | None = value if type(value) is int else _integral(value, problems)
    if found is None or 0 <= found <= maximum:
        return found
    problems.append(f"not between 0 and {maximum}")
    return None


def _integral(value: Any, problems: list[str]) -> int | None:
    if type(value) is float and value.is_integer():
        return int(value)
    if type(value) is not str:
        problems.append(f"{describe(value)} where an integer is expected")
        return None
    digits = value.strip() if len(value) <= _LONGEST_NUMBER else ""
    if not _INTEGER_TEXT.fullmatch(digits):
        problems.append(f"'{clean(value, 40)}' is not an integer")
        return None
    return int(digits)


def _switch(value: Any, _bound: int, problems: list[str]) -> bool | None:
    """Read true or false, 1 or 0, on or off; as text in any case."""
    if type(value) is bool:
        return value
    found = None
    if type(value) is str:
        found = _SWITCH_TEXTS.get(value.lower())
    elif value in (0, 1):
        found = value == 1
    if found is None:
        problems.append("neither true nor false, 1 nor 0, on nor off")
    return found


def _json_value(value: Any, _bound: int, problems: list[str]) -> Any:
    """Read any JSON value. What the databases cannot store in it is removed or becomes null; the rest stays."""
    if _is_storable(value):
        return value
    changes: dict[str, None] = {}  # an ordered set: one problem of each kind
    value = _repair(value, changes)
    problems.extend(changes)
    return value


def _are_texts(values: Sequence[Any], length: int) -> bool:
    return set(map(type, values)) == {str} and max(map(len, values)) <= length and "".join(values).isprintable()


def _are_numbers(values: Sequence[Any], _bound: int) -> bool:
    return set(map(type, values)) == {float} and all(map(isfinite, values))


def _are_positive(values: Sequence[Any], bound: int) -> bool:
    return _are_numbers(values, bound) and min(values) > 0


def _are_counts(values: Sequence[Any], maximum: int) -> bool:
    return set(map(type, values)) == {int} and min(values) >= 0 and max(values) <= maximum


def _are_switches(values: Sequence[Any], _bound: int) -> bool:
    return set(map(type, values)) == {bool}


def _are_json(values: Sequence[Any], _bound: int) -> bool:
    return all(map(_is_storable, values))


TEXT = Kind(_text, _are_texts)
TEXT_OR_NUMBER = Kind(_text_or_number, _are_texts)
NUMBER = Kind(_number, _are_numbers)
POSITIVE = Kind(_positive, _are_positive)
COUNT = Kind(_count, _are_counts)
SWITCH = Kind(_switch, _are_switches)
JSON = Kind(_json_value, _are_json)


def is_deeper(value: Any, levels: int) -> bool:
    """Tell whether a JSON value has more than so many objects and lists inside each other."""
    if type(value) is dict:
        value = value.values()
    elif type(value) is not list:
        return False
    return levels == 0 or any(is_deeper(element, levels - 1) for element in value)


def without_controls(value: str, problems: list[str]) -> str:
    """Remove what cannot be stored as text."""
    stored = storable(value)
    if len(stored) != len(value):
        problems.append(_CONTROLS_REMOVED)
    return stored


def is_number(value: float, problems: list[str]) -> bool:
    """Tell whether a JSON number is finite and, if an integer, within 64 bits; if not, why."""
    if type(value) is int:
        if MIN_JSON_INTEGER <= value <= MAX_JSON_INTEGER:
            return True
        problems.append(_OUT_OF_RANGE)
        return False
    if isfinite(value):
        return True
    problems.append(_NOT_FINITE)
    return False


def _is_storable(value: Any) -> bool:
    """Tell, quickly, whether a value can be stored as it is; False also where only `_repair` can tell."""
    if type(value) is list:
        return _are_storable(value)
    if type(value) is dict:
        return _are_keys(value) and _are_storable(value.values())
    return _are_storable((value,))


def _are_storable(elements: Iterable[Any]) -> bool:
    for element in elements:
        kind = type(element)
        if kind is str:
            if not element.isprintable():
                return False
        elif kind is int:
            if not MIN_JSON_INTEGER <= element <= MAX_JSON_INTEGER:
                return False
        elif kind is float:
            if not isfinite(element):
                return False
        elif (kind is dict or kind is list) and not _is_storable(element):
            return False
    return True


def _are_keys(keys: Iterable[str]) -> bool:
    for key in keys:  # noqa: SIM110 - a generator costs half as much again
        if len(key) > MAX_KEY_LENGTH or not key.isprintable():
            return False
    return True


def _repair(value: Any, changes: dict[str, None]) -> Any:
    kind = type(value)
    if kind is str:
        return _repair_text(value, changes)
    if kind is list:
        return [_repair(element, changes) for element in value]
    if kind is dict:
        return _repair_object(value, changes)
    problems: list[str] = []
    if (kind is int or kind is float) and not is_number(value, problems):
        changes[f"null in place of: {problems[0]}"] = None
        return None
    return value


def _repair_object(value: dict[str, Any], changes: dict[str, None]) -> dict[str, Any]:
    repaired = {}
    for key, element in value.items():
        if len(key) > MAX_KEY_LENGTH:
            changes[f"key longer than {MAX_KEY_LENGTH} characters dropped"] = None
        else:
            repaired[_repair_text(key, changes)] = _repair(element, changes)
    return repaired


def _repair_text(value: str, changes: dict[str, None]) -> str:
    stored = storable(value)
    if len(stored) != len(value):
        changes[_CONTROLS_REMOVED] = None
    return stored
