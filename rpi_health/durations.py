"""Durations as people write them: `90s`, `5m`, `24h`."""

from __future__ import annotations

import math
import re
import sys

_UNITS_S = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration_s(value: object) -> float:
    """Read a duration.

    Args:
        value: seconds as a number, or text with a unit: `90`, `0.5s`, `250ms`, `5m`, `24h`, `7d`.

    Returns:
        Seconds, finite and not negative.

    Raises:
        ValueError: the value is not a duration.
    """
    seconds = math.nan
    if isinstance(value, str):
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([a-z]*)", value.strip().lower())
        if match and match[2] in _UNITS_S:
            seconds = float(match[1]) * _UNITS_S[match[2]]
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        # Compared before it is converted: float() of an integer of 400 digits is an OverflowError.
        seconds = float(value) if 0 <= value <= sys.float_info.max else math.nan
    if not math.isfinite(seconds):
        raise ValueError("give a duration such as 5, 90s, 5m or 24h")
    return seconds


def duration_text(seconds: float) -> str:
    """A duration as `parse_duration_s` reads it, in the largest unit of which it has a whole number: `90s`, `5m`."""
    for unit in ("d", "h", "m"):
        if seconds and seconds % _UNITS_S[unit] == 0:
            return f"{seconds / _UNITS_S[unit]:g}{unit}"
    return f"{seconds:g}s"
