"""What a test sent: reports that can be told apart, and messages that are none."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

#: Twenty days ago, in seconds since the epoch: dated reports lie behind it, one second apart. Recent enough that none
#: is deleted for its age, and long enough ago that none is ahead of the clock.
FIRST_SECOND = int(time.time()) // 86_400 * 86_400 - 20 * 86_400


class Key(NamedTuple):
    """What a report is known by in the history: no two of a test have it in common."""

    device: str
    second: int
    number: int


class Traffic:
    """All that was sent in one test.

    A report's number is its `cpu_percent`, too: an independent witness beside the digest that the product makes.

    Args:
        devices: how many devices take turns.
    """

    def __init__(self, devices: int = 50) -> None:
        self._devices = devices
        self._count = 0
        self._lock = threading.Lock()  # several producers take numbers
        #: The reports.
        self.reports: set[Key] = set()
        #: What belongs in the dead-letter queue.
        self.bad: set[bytes] = set()

    def make_reports(self, count: int) -> list[bytes]:
        """The next so many reports, each newer than those before."""
        keys = [Key(f"pi-{number % self._devices}", FIRST_SECOND + number, number) for number in self._take(count)]
        self.reports.update(keys)
        return [encode(key) for key in keys]

    def make_bad(self, count: int) -> list[bytes]:
        """The next so many messages that are no reports."""
        bodies = [b"not a report: %d" % number for number in self._take(count)]
        self.bad.update(bodies)
        return bodies

    def make_mixed(self, count: int, bad_every: int = 100, seed: int = 1) -> list[bytes]:
        """So many messages in random order, one of `bad_every` bad."""
        bad = count // bad_every
        bodies = [*self.make_reports(count - bad), *self.make_bad(bad)]
        random.Random(seed).shuffle(bodies)
        return bodies

    def _take(self, count: int) -> range:
        with self._lock:
            self._count += count
            return range(self._count - count, self._count)

    def newest(self) -> Iterator[Key]:
        """The newest report of each device."""
        newest: dict[str, Key] = {}
        for key in self.reports:
            newest[key.device] = max(key, newest.get(key.device, key))
        return iter(newest.values())


def encode(key: Key) -> bytes:
    """The body of a report."""
    report: dict[str, Any] = {
        "id": key.device,
        "timestamp": key.second,
        "cpu_percent": key.number,
        "cpu_temp": "48°C",
        "mem_usage": "512 MB",
        "net_bytes_sent": key.number * 1000,
        "net_ifaces": [{"name": "wlan0", "ip": "192.168.0.10"}],
    }
    return json.dumps(report).encode()
