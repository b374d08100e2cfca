"""The figures that the history keeps of a device: what they are called, and in which unit. Nouns, no SQL."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple


class Metric(NamedTuple):
    """A figure.

    Args:
        name: as on the command line.
        column: of `device_history`; carries the unit, as the keys of JSON do.
        title: as in a heading.
        unit: `°C`, `%`, `B`, or nothing for what is counted.
    """

    name: str
    column: str
    title: str
    unit: str

    @property
    def figures(self) -> tuple[str, str, str, str]:
        """Of several reports: the names of the least, the mean and the greatest value, and of how many have one."""
        return f"{self.column}_min", f"{self.column}_mean", f"{self.column}_max", f"{self.column}_count"


METRICS = (
    Metric("temp", "cpu_temp_celsius", "Temp", "°C"),
    Metric("cpu", "cpu_percent", "CPU", "%"),
    Metric("mem", "mem_used_bytes", "Memory", "B"),
    Metric("mem-percent", "mem_percent", "Memory", "%"),
    Metric("sent", "net_bytes_sent", "Sent", "B"),
    Metric("received", "net_bytes_recv", "Received", "B"),
    Metric("gpio", "gpio_used_count", "GPIO", ""),
    Metric("usb", "usb_devices_count", "USB", ""),
)
#: Of reports that are deleted for their age, figures are kept by spans of so many seconds.
HOUR_S = 3600
#: What is shown unless something else is asked for.
USUAL = METRICS[:4]


@dataclass(frozen=True)
class Reading:
    """What one report says.

    Args:
        at: when the device made it; aware, UTC.
        values: of the metrics that were asked for, in their order; None where it does not say.
    """

    at: datetime
    values: tuple[float | None, ...]


class Range(NamedTuple):
    """The least, the mean and the greatest of some values."""

    least: float
    mean: float
    most: float


@dataclass(frozen=True)
class Bucket:
    """What the reports of a span of time say.

    Args:
        at: the start of the span; aware, UTC.
        reports: how many.
        values: of the metrics that were asked for, in their order; None where no report has a value.
    """

    at: datetime
    reports: int
    values: tuple[Range | None, ...]
