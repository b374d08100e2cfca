"""What a consumer has counted and what the database knows of the fleet, as Prometheus' client library wants it.

Nothing is counted here: values are read when they are asked for, so that they cost nothing while messages are stored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import accumulate
from typing import Any, NamedTuple, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from rpi_health.device import Device
from rpi_health.health import Health
from rpi_health.monitor import catalogue
from rpi_health.monitor.catalogue import COUNTER, Family
from rpi_health.presence import Overview
from rpi_health.version import __version__

_Values = Iterable[tuple[str, float]]


class Spread(Protocol):
    """How values are spread: so many up to each bound, and one class more for what is beyond."""

    bounds: tuple[float, ...]
    counts: list[int]
    sum: float


class Measured(Protocol):
    """The consumer that is told of. See `rpi_health.consumer.Consumer`."""

    @property
    def health(self) -> Health: ...

    @property
    def backlog(self) -> int | None: ...

    @property
    def tally(self) -> Any: ...


class Fleet(NamedTuple):
    """What the database knows: some devices, and the whole fleet in figures."""

    devices: Sequence[Device]
    overview: Overview


class ConsumerCollector(Collector):
    """The metrics of `catalogue.CONSUMER`."""

    def __init__(self, consumer: Measured) -> None:
        self._consumer = consumer

    def collect(self) -> Iterator[Metric]:
        """All of them, as they are now."""
        tally, health = self._consumer.tally, self._consumer.health
        yield _family(catalogue.BUILD, [(__version__, 1)])
        yield _plain(catalogue.LIVE, health.is_live)
        yield _plain(catalogue.READY, health.is_ready)
        yield _plain(catalogue.DELIVERED, tally.deliveries)
        yield _plain(catalogue.REDELIVERED, tally.redelivered)
        yield _plain(catalogue.STORED, tally.stored)
        yield _plain(catalogue.STALE, tally.stale or 0)
        yield _family(catalogue.DEAD_LETTERED, tally.dead_lettered.items())
        yield _histogram(catalogue.BATCH, tally.batch_sizes)
        yield _histogram(catalogue.WRITE, tally.write_times_s)
        yield _plain(catalogue.SESSIONS, max(0, tally.sessions - 1))
        tries = (tally.retries, tally.database_retries, tally.dead_letter_retries)
        yield _family(catalogue.RETRIES, zip(catalogue.RETRIED, tries))
        yield _plain(catalogue.BACKLOG, self._consumer.backlog)
        yield _plain(catalogue.LAST_COMMIT, _seconds(tally.last_commit_at))
        yield _plain(catalogue.HELD, tally.held_time.total_s)
        yield _plain(catalogue.PARKED, tally.parked_time.total_s)
        yield _plain(catalogue.DEAD_HELD, tally.dead_letters_held)


class FleetCollector(Collector):
    """The metrics of `catalogue.FLEET`, and of `catalogue.DEVICE` for so many devices.

    Args:
        look: what the database knows; None: it does not answer.
    """

    def __init__(self, look: Callable[[], Fleet | None]) -> None:
        self._look = look

    def collect(self) -> Iterator[Metric]:
        """All of them, as they were when the database was last asked."""
        fleet = self._look()
        yield _plain(catalogue.FLEET_KNOWN, fleet is not None)
        overview = None if fleet is None else fleet.overview
        counts = {} if overview is None else overview.counts
        devices = () if fleet is None else fleet.devices
        yield _family(catalogue.DEVICES, [(state, counts.get(state, math.nan)) for state in catalogue.DEVICES.values])
        yield _plain(catalogue.HOT, None if overview is None else overview.hot)
        yield _plain(catalogue.LAST_REPORT, None if overview is None else _seconds(overview.last_report))
        yield _plain(catalogue.LEFT_OUT, None if overview is None else sum(counts.values()) - len(devices))
        for family, value_of in _OF_A_DEVICE:
            values = [(device.raspberry_id, _number(value_of, device)) for device in devices]
            yield _family(family, [(device, value) for device, value in values if value is not None])


def _number(value_of: Callable[[Device], float | None], device: Device) -> float | None:
    """The value, if there is one. SQLite takes anything in any column from whoever writes it there."""
    try:
        value = value_of(device)
        return None if value is None else float(value)
    except (AttributeError, TypeError, ValueError):
        return None


def _percent(value: float | None) -> float | None:
    return None if value is None else value / 100


_OF_A_DEVICE: tuple[tuple[Family, Callable[[Device], float | None]], ...] = (
    (catalogue.UP, lambda device: device.state != "offline"),
    (catalogue.HEARD, lambda device: _seconds(device.last_update)),
    (catalogue.REPORTED, lambda device: None if device.reported_at is None else _seconds(device.reported_at)),
    (catalogue.TEMPERATURE, lambda device: device.cpu_temp_celsius),
    (catalogue.CPU, lambda device: _percent(device.cpu_percent)),
    (catalogue.MEMORY, lambda device: device.mem_used_bytes),
    (catalogue.MEMORY_RATIO, lambda device: _percent(device.mem_percent)),
    (catalogue.SENT, lambda device: device.net_bytes_sent),
    (catalogue.RECEIVED, lambda device: device.net_bytes_recv),
    (catalogue.GPIO, lambda device: device.gpio_used_count),
    (catalogue.USB, lambda device: device.usb_devices_count),
)


def _seconds(instant: datetime | None) -> float:
    return 0.0 if instant is None else instant.timestamp()


def _plain(family: Family, value: float | None) -> Metric:
    return _family(family, [("", math.nan if value is None else value)])


def _family(family: Family, values: _Values) -> Metric:
    make = CounterMetricFamily if family.kind == COUNTER else GaugeMetricFamily
    metric = make(family.name, family.help, labels=[family.label] if family.label else [])
    for label, value in values:
        metric.add_metric([label] if family.label else [], value)
    return metric


def _histogram(family: Family, spread: Spread) -> Metric:
    totals = list(accumulate(spread.counts))
    bounds = [*(f"{float(bound)}" for bound in spread.bounds), "+Inf"]
    metric = HistogramMetricFamily(family.name, family.help)
    metric.add_metric([], list(zip(bounds, totals)), spread.sum)
    return metric
