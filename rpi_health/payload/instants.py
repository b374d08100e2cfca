"""The time a device gives for its report: RFC 3339 text, or seconds, ms, µs or ns since 1970.

Reads values into aware UTC instants. Does not know the time now, nor which instants are plausible.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

from rpi_health.text import clean

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_RFC_3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})"
    r"(?:[.,]([0-9]+))? ?(?:([Zz])|([+-])([0-9]{2}):?([0-9]{2}))?"
)
_EPOCH_TEXT = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")
_LONGEST_TEXT = 64  # a bound for what is converted; no sensible instant is longer


def read(value: object, problems: list[str]) -> datetime | None:
    """Read an instant, as JSON gives it.

    Returns:
        The instant (aware, UTC), or None where the value cannot be read: `problems` then tells why.
    """
    instant = None
    if type(value) is str:
        return _from_text(value.strip(), problems)
    if type(value) is int or type(value) is float:
        instant = from_epoch(value)
    if instant is None:
        problems.append("not an instant that can be read")
    return instant


def _from_text(text: str, problems: list[str]) -> datetime | None:
    if len(text) > _LONGEST_TEXT:
        problems.append("not an instant that can be read")
        return None
    instant = None
    match = _RFC_3339.fullmatch(text)
    if match is not None:
        if match[8] is None and match[9] is None:
            problems.append(f"'{clean(text)}' has no UTC offset")
            return None
        instant = _from_parts(match)
    elif _EPOCH_TEXT.fullmatch(text):
        instant = from_epoch(float(text) if "." in text else int(text))
    if instant is None:
        problems.append(f"'{clean(text)}' is not an instant that can be read")
    return instant


def _from_parts(match: re.Match[str]) -> datetime | None:
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    if second == 60:  # a leap second; Python has none
        second = 59
    microsecond = int((match[7] or "")[:6].ljust(6, "0"))
    try:
        local = datetime(year, month, day, hour, minute, second, microsecond, timezone.utc)
        return local if match[9] is None else local - _offset(match)
    except (ValueError, OverflowError):  # the 31st of February; or beyond the years that Python has
        return None


def _offset(match: re.Match[str]) -> timedelta:
    hours, minutes = int(match[10]), int(match[11])
    if hours > 23 or minutes > 59:
        raise ValueError("no such UTC offset")
    size = timedelta(hours=hours, minutes=minutes)
    return -size if match[9] == "-" else size


def from_epoch(number: float) -> datetime | None:
    """Read a time since 1970 in the unit that its magnitude tells: 1e11 s would be the year 5138.

    Returns:
        The instant (aware, UTC), or None where it is not finite or beyond the years that Python has.
    """
    size = abs(number)
    if size < 1e11:
        return _from_seconds(number)
    if size < 1e14:
        return from_epoch_ms(number)
    return _after_epoch(number if size < 1e17 else number // 1000)


def _from_seconds(number: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(number, timezone.utc)
    except (ValueError, OverflowError, OSError):  # too far; or after 2038, on a system of 32 bits
        return _after_epoch(number * 1_000_000)


def from_epoch_ms(number: float) -> datetime | None:
    """Read milliseconds since 1970; None where not finite or beyond the years that Python has."""
    return _after_epoch(number * 1000)


def _after_epoch(microseconds: float) -> datetime | None:
    try:
        return _EPOCH + timedelta(microseconds=round(microseconds))
    except (ValueError, OverflowError):  # NaN; infinite or too far
        return None
