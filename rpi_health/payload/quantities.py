"""The numbers in what people write: `512 MB`, `45%`, `48.0'C`.

Reads the texts of `mem_usage` and `cpu_temp`; the same text always gives the same answer. Knows nothing of JSON or
reports.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from rpi_health.text import clean

_MAX_BYTES = 2**63 - 1
_ABSOLUTE_ZERO_CELSIUS = -273.15
_HOTTEST_CELSIUS = 1000.0  # beyond, it is another unit: Linux' own files tell millidegrees

_BARE_NUMBER = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)?(?:[eE][+-]?[0-9]+)?")
# A comma before exactly three digits may as well separate thousands: not read, rather than wrong by a thousand.
_MEMORY = re.compile(r"([0-9]+)(?:\.([0-9]+)|,([0-9]{1,2}|[0-9]{4,}))? ?([A-Za-z]{1,3}|%)?")
# Also `temp=48.3'C`, as vcgencmd prints it; º and ˚ are taken for °, and U+FFFD for a ° that was not UTF-8.
_TEMPERATURE = re.compile(r"(?:temp=)?([+-]?[0-9]+(?:[.,][0-9]+)?(?:[eE][+-]?[0-9]+)?) ?(?:℃|[°º˚'’\ufffd]? ?[Cc]?)")

_BYTES_PER_UNIT = {"b": 1}
for _power, _letter in enumerate("kmgt", start=1):
    _BYTES_PER_UNIT.update({_letter: 1000**_power, f"{_letter}b": 1000**_power})
    _BYTES_PER_UNIT.update({f"{_letter}i": 1024**_power, f"{_letter}ib": 1024**_power})


class Memory(NamedTuple):
    """Memory in use, in bytes or in percent of what there is; neither where the text has no unit or cannot be read.

    Args:
        problem: why the text cannot be read, if so.
    """

    used_bytes: int | None = None
    percent: float | None = None
    problem: str | None = None


class Temperature(NamedTuple):
    """A temperature in °C; None where the text cannot be read, and then why."""

    celsius: float | None = None
    problem: str | None = None


@lru_cache(maxsize=4096)
def memory(text: str) -> Memory:
    """Read memory in use: a number and a unit, decimal (`MB`, `M`), binary (`MiB`, `Mi`) or `%`, in any case."""
    match = _MEMORY.fullmatch(text.strip())
    if match is None and _BARE_NUMBER.fullmatch(text.strip()):
        return Memory()
    if match is None:
        return Memory(problem=f"no amount of memory in '{clean(text, 64)}'")
    whole, fraction, unit = match[1], match[2] or match[3], match[4]
    if unit is None:
        return Memory()
    if unit == "%":
        return Memory(percent=float(f"{whole}.{fraction or 0}"))
    return _memory_in_bytes(whole, fraction, unit)


def _memory_in_bytes(whole: str, fraction: str | None, unit: str) -> Memory:
    factor = _BYTES_PER_UNIT.get(unit.lower())
    if factor is None:
        return Memory(problem=f"unknown unit '{unit}'")
    used = round(float(f"{whole}.{fraction}") * factor) if fraction else int(whole) * factor
    if used > _MAX_BYTES:
        return Memory(problem=f"more than {_MAX_BYTES} bytes")
    return Memory(used_bytes=used)


@lru_cache(maxsize=4096)
def temperature(text: str) -> Temperature:
    """Read a temperature in °C, with or without its unit. Other units are not converted."""
    match = _TEMPERATURE.fullmatch(text.strip())
    if match is None:
        return Temperature(problem=f"no temperature in °C in '{clean(text, 64)}'")
    celsius = float(match[1].replace(",", "."))
    if not _ABSOLUTE_ZERO_CELSIUS <= celsius <= _HOTTEST_CELSIUS:
        return Temperature(problem=f"{clean(text, 64)} is no temperature in °C")
    return Temperature(celsius=celsius)
