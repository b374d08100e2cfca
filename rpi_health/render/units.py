"""Figures with their units, written one way everywhere: `48.0 °C`, `512 MB`, `12 s ago`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rpi_health.device import HOT_CELSIUS, ROUNDED_CELSIUS, WARM_CELSIUS

HOT, WARM, COOL = "bold red", "yellow", "green"

#: Each state has a sign, too: colours do not reach everybody.
STATE_SIGNS = {"online": "●", "late": "▲", "offline": "✖"}
STATE_STYLES = {"online": COOL, "late": WARM, "offline": HOT}


def ago(then: datetime, now: datetime) -> str:
    """How long ago, in the largest unit of which there are two: `12 s ago`, `5 min ago`, `3 h ago`, `2 d ago`."""
    return f"{duration((now - then).total_seconds())} ago"


def duration(seconds: float) -> str:
    """A time span, in the largest unit of which there are two, rounded down: `90 s`, `5 min`, `36 h`, `2 d`."""
    whole = max(0, int(seconds))
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if whole < limit:
            return f"{whole // size} {unit}"
    return f"{whole // 86400} d"


def byte_count(count: float) -> str:
    """Bytes in decimal units, with three digits: `102 kB`, `1.50 GB`."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if amount < 999.5 or unit == "PB":
            digits = 0 if unit == "B" or amount >= 99.95 else 1 if amount >= 9.995 else 2
            return f"{amount:.{digits}f} {unit}"
        amount /= 1000
    raise AssertionError("unreachable")


def number(value: float, unit: str) -> str:
    """A number with one decimal; a broken sensor may report anything that is finite."""
    return f"{value:.1f} {unit}" if abs(value) < 1000 else f"{value:.0e} {unit}"


def counted(count: float) -> str:
    """A count, such as of USB devices: whole, or the mean of several."""
    if count > 99_999:
        return f"{count:.3g}"
    return str(count) if isinstance(count, int) else f"{count:.1f}"


def figure(value: float, unit: str) -> str:
    """A figure of a metric, by its unit: `°C`, `%`, `B`, or none."""
    if unit == "B":
        return byte_count(value)
    return number(value, unit) if unit else counted(value)


def figures(values: Sequence[float], unit: str, separator: str) -> str:
    """Several figures of a metric: `42.0 … 55.0 °C`. What all have in common is said once."""
    texts = [figure(value, unit) for value in values]
    if len(set(texts)) == 1:
        return texts[0]
    numbers, _, units = zip(*[text.partition(" ") for text in texts])
    return f"{separator.join(numbers)} {units[0]}".rstrip() if len(set(units)) == 1 else separator.join(texts)


def heat(celsius: float) -> str:
    """The style of a temperature, judged as it is shown: what reads 80.0 °C is hot."""
    shown = celsius + ROUNDED_CELSIUS
    return HOT if shown >= HOT_CELSIUS else WARM if shown >= WARM_CELSIUS else COOL


def instant(at: datetime) -> str:
    """`2026-01-01 12:00:05`, in UTC."""
    return at.strftime("%Y-%m-%d %H:%M:%S")
