"""Faults on purpose, at the points of a message's way where a loss could hide. For tests of the delivery guarantee.

Off, it is not on that way at all: `app` puts it around the parts only when the configuration asks for it. Knows the
parts by what the consumer needs of them; reads no environment.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sa

from rpi_health import errors, events
from rpi_health.delivery import Delivery, Letter, Settling
from rpi_health.report import Report

_T = TypeVar("_T")

#: The points, in the order in which a message passes them.
POINTS = (
    "reconnecting",  # before each connection to the broker but the first
    "delivered",  # a delivery has come, and nobody else knows of it
    "before_transaction",
    "before_commit",  # all is written, nothing committed
    "after_commit",  # nothing settled, no dead letter published
    "after_confirm",  # dead letters are published, their originals not settled
    "ack_queued",  # settled; the ack is sent by another thread
)
#: The exit status of a crash.
CRASHED = 70
_SPEC = re.compile(r"(?P<point>\w+)=(?P<action>crash|raise|sleep)(:(?P<seconds>\d+(\.\d+)?))?(@(?P<turn>[1-9]\d*))?")


class Injected(Exception):
    """Raised at a failpoint: an error that nobody expected."""


class Failpoint(NamedTuple):
    """What happens at a point.

    Args:
        action: `crash` (the process is gone at once), `raise`, or `sleep`.
        seconds: how long to sleep before, in any case.
        turn: at which passing it happens, once; from 1.
    """

    action: str
    seconds: float
    turn: int


def parse(text: str) -> dict[str, Failpoint]:
    """Read `POINT=ACTION[:SECONDS][@TURN]`, several of them separated by commas.

    Raises:
        ConfigurationError: it is not that.
    """
    points = {}
    for part in text.split(","):
        match = _SPEC.fullmatch(part.strip())
        if match is None or match["point"] not in POINTS:
            raise errors.ConfigurationError(
                f"failpoint {part.strip()!r}: give POINT=ACTION[:SECONDS][@TURN], where POINT is one of "
                f"{', '.join(POINTS)}, and ACTION is crash, raise or sleep"
            )
        points[match["point"]] = Failpoint(match["action"], float(match["seconds"] or 0), int(match["turn"] or 1))
    return points


class Failpoints:
    """Makes what is asked for happen, and says so in the log beforehand. Any thread may reach a point.

    Args:
        points: as `parse` gives them.
    """

    def __init__(self, points: dict[str, Failpoint]) -> None:
        self._points = points
        self._passed = dict.fromkeys(POINTS, 0)
        self._lock = threading.Lock()
        self._log = events.Log(__name__)

    def reach(self, name: str) -> None:
        """Pass a point."""
        with self._lock:
            self._passed[name] += 1
            turn = self._passed[name]
        point = self._points.get(name)
        if point is None or turn != point.turn:
            return
        self._log.say(events.FAILPOINT, point=name, action=point.action)
        time.sleep(point.seconds)
        if point.action == "crash":
            os._exit(CRASHED)
        if point.action == "raise":
            raise Injected(name)

    def around_connect(self, connect: Callable[[], Any]) -> Callable[[], Any]:
        """What opens connections to the broker, with the points on that side."""
        connections = iter([_no_point])

        def connect_again() -> FailingConnection:
            next(connections, self.reach)("reconnecting")
            return FailingConnection(connect(), self)

        return connect_again

    def around_store(self, store: Any, engine: sa.Engine) -> FailingStore:
        """The store that writes through this engine, with its points."""
        return FailingStore(store, engine, self)

    def around_publish(self, publish: Callable[[Sequence[Letter]], _T]) -> Callable[[Sequence[Letter]], _T]:
        """What publishes dead letters, with its point."""

        def publish_and_reach(letters: Sequence[Letter]) -> _T:
            outcome = publish(letters)
            self.reach("after_confirm")
            return outcome

        return publish_and_reach


def _no_point(_name: str) -> None:
    """The first connection is no reconnection."""


class FailingConnection:
    """A connection whose deliveries pass the failpoints."""

    def __init__(self, connection: Any, failpoints: Failpoints) -> None:
        self._connection = connection
        self._failpoints = failpoints

    def open_session(self, queue: str, prefetch: int, deliver: Callable[[Delivery], None]) -> Any:
        sessions: dict[int, FailingSession] = {}

        def deliver_and_reach(delivery: Delivery) -> None:
            self._failpoints.reach("delivered")
            # One for all deliveries of a session: the consumer tells sessions apart by identity.
            session = sessions.setdefault(id(delivery.session), FailingSession(delivery.session, self._failpoints))
            deliver(delivery._replace(session=session))

        return self._connection.open_session(queue, prefetch, deliver_and_reach)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class FailingSession:
    """The session of a delivery, as those see it who settle."""

    def __init__(self, session: Settling, failpoints: Failpoints) -> None:
        self.token = session.token
        self._session = session
        self._failpoints = failpoints

    @property
    def is_open(self) -> bool:
        return self._session.is_open

    def settle(self, tags: Sequence[int]) -> None:
        self._session.settle(tags)
        self._failpoints.reach("ack_queued")


class FailingStore:
    """A store whose writes pass the failpoints. Notes do not: they are no message's way."""

    def __init__(self, store: Any, engine: sa.Engine, failpoints: Failpoints) -> None:
        self._store = store
        self._failpoints = failpoints
        self._writing = False
        sa.event.listen(engine, "begin", lambda _connection: self._reach("before_transaction"))
        sa.event.listen(engine, "commit", lambda _connection: self._reach("before_commit"))

    def write(self, reports: Sequence[Report]) -> Any:
        self._writing = True
        try:
            refused = self._store.write(reports)
        finally:
            self._writing = False
        self._failpoints.reach("after_commit")
        return refused

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def _reach(self, name: str) -> None:
        if self._writing:
            self._failpoints.reach(name)
