"""The judge of every fault: was anything lost, invented or stored twice? One check, used after each scenario."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import sqlalchemy as sa

from rpi_health.models import DeviceHistory, DeviceStatus
from tests.amqp import Amqp
from tests.reports import rows
from tests.traffic import Key, Traffic
from tests.waiting import wait_until


class Verdict(NamedTuple):
    """What became of the messages.

    Args:
        stored: reports in the history.
        dead_lettered: distinct messages in the dead-letter queue.
        repeated_dead_letters: how many of them are there once more; at-least-once allows it.
    """

    stored: int
    dead_lettered: int
    repeated_dead_letters: int


def assert_nothing_lost(traffic: Traffic, amqp: Amqp, url: str, drained_within_s: float = 30) -> Verdict:
    """Every message is where it belongs, and nowhere else.

    To be called when all of the traffic was confirmed. Checks that the queue is empty with nothing unacknowledged; that
    history holds each report exactly once and nothing that was never sent; that each device has the state of its newest
    report; and that all bad messages, and no others, are in the dead-letter queue, which is emptied.
    """
    wait_until(lambda: amqp.counts() == (0, 0), drained_within_s, "an empty queue and nothing unacknowledged")
    stored = history_keys(url)
    dead = [(body, properties.headers) for properties, body in amqp.get_all(amqp.dead_letter_queue)]
    bodies = Counter(body for body, _ in dead)
    _assert_none("lost reports", traffic.reports - set(stored))
    _assert_none("invented reports", set(stored) - traffic.reports)
    _assert_none("reports stored more than once", (key for key, times in stored.items() if times > 1))
    _assert_none("devices without the state of their newest report", device_keys(url) ^ set(traffic.newest()))
    _assert_none("lost bad messages", traffic.bad - set(bodies))
    _assert_none("wrongly dead-lettered messages", (each for each in dead if each[0] not in traffic.bad))
    return Verdict(sum(stored.values()), len(bodies), len(dead) - len(bodies))


def history_keys(url: str) -> Counter[Key]:
    """How many history rows each report has."""
    return Counter(
        _keys(url, sa.select(DeviceHistory.raspberry_id, DeviceHistory.reported_at, DeviceHistory.cpu_percent))
    )


def device_keys(url: str) -> set[Key]:
    """The report whose state each device has."""
    query = sa.select(DeviceStatus.raspberry_id, DeviceStatus.reported_at, DeviceStatus.cpu_percent)
    query = query.where(DeviceStatus.last_update >= DeviceStatus.reported_at)
    return set(_keys(url, query))


def is_stored(url: str, key: Key) -> bool:
    """Whether a report is in the history."""
    query = sa.select(sa.func.count()).where(
        DeviceHistory.raspberry_id == key.device, DeviceHistory.cpu_percent == key.number
    )
    with rows(url) as connection:
        return bool(connection.execute(query).scalar_one())


def _keys(url: str, query: sa.Select[tuple[str, object, float]]) -> list[Key]:
    with rows(url) as connection:
        found = connection.execute(query).all()
    return [Key(device, int(at.timestamp()), int(number)) for device, at, number in found]


def _assert_none(what: str, found: Iterable[object]) -> None:
    some = list(found)
    assert not some, f"{len(some)} {what}, such as {some[:3]}"
