"""When the consumer tries again, how soon, and when it gives up; with a broker and a store that only pretend."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from rpi_health import errors
from rpi_health.consumer import Consumer, Limits, loop, summary, vitals
from rpi_health.consumer.backoff import Backoff
from rpi_health.delivery import Delivery
from tests.unit.settling import RememberingSession, delivery

LOST = errors.BrokerUnavailable("lost")


class Session:
    """A session that has delivered and settled so many messages, while so many wait."""

    def __init__(self, settled: int = 0, ready: int = 0) -> None:
        self.delivered = self.settled = settled
        self.is_open = True
        self.is_full = False
        self.ready = self.waiting = ready

    def check(self) -> None:
        """It is as it was."""

    def wait_for_room(self, time_limit_s: float) -> None:
        """There is room."""

    def wake(self) -> None:
        """It does not wait."""

    def ask_ready(self, answer: Callable[[int], None]) -> None:
        answer(self.ready)

    def count_ready(self) -> int:
        return self.ready

    def stop_taking(self) -> None:
        self.ready_in_the_end = self.ready

    def close(self) -> None:
        self.is_open = False

    def abandon(self) -> None:
        self.is_open = False


class Connection:
    """A connection with one session, on which a turn does what it is told."""

    address = "broker:5672/"

    def __init__(self, session: Session, turn: Callable[[], object] = lambda: None) -> None:
        self._session = session
        self._turn = turn

    def open_session(self, _queue: str, _prefetch: int, deliver: Callable[[Delivery], None]) -> Session:
        self.deliver = deliver
        return self._session

    def process(self, _time_limit_s: float) -> None:
        self._turn()

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_: None  # wake, close and whatever needs no answer


class Store:
    def count_stale(self, _reports: object) -> int:
        return 0

    def beat(self, _beat: object) -> None:
        """Nobody looks."""

    def leave(self) -> None:
        """Nobody looks."""

    def close(self) -> None:
        """Nothing is open."""


class StoreThatIsAway(Store):
    """Stores nothing, and tells when it was asked to the second time."""

    def __init__(self) -> None:
        self.asked_again = threading.Event()
        self._asked = False

    def write(self, _reports: object) -> NoReturn:
        if self._asked:
            self.asked_again.set()
        self._asked = True
        raise errors.DatabaseUnavailable("away")


class NoDelay(Backoff):
    """Notes what is asked of it, and has nobody wait."""

    calls: list[str]

    def next_s(self) -> float:
        self.calls.append("delay")
        return 0

    def reset(self) -> None:
        self.calls.append("reset")


@pytest.fixture
def backoff_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(NoDelay, "calls", [], raising=False)
    monkeypatch.setattr(loop, "Backoff", NoDelay)
    return NoDelay.calls


def fail() -> None:
    raise LOST


def run(*connections: Connection | errors.BrokerError, **limits: Any) -> int:
    """Run a consumer on these connections, one after the other; with the last one it is stopped. Returns how many."""
    opened: list[object] = []

    def connect() -> Any:
        opened.append(connection := connections[len(opened)])
        if isinstance(connection, errors.BrokerError):
            raise connection
        if len(opened) == len(connections):
            consumer.stop()
        return connection

    consumer = make(connect, Store(), **limits)
    consumer.run()
    return len(opened)


def make(connect: Callable[[], Any], store: Any, **limits: Any) -> Consumer:
    def publish(_letters: object) -> NoReturn:
        raise NotImplementedError

    return Consumer(connect, store, lambda: None, publish, Limits("queue", **limits))


def test_delays_grow_on_while_connections_come_and_go_without_progress(backoff_calls: list[str]) -> None:
    run(*[Connection(Session(settled=0), fail)] * 5, Connection(Session()))
    assert backoff_calls == ["delay"] * 5


def test_delays_begin_again_after_progress(backoff_calls: list[str]) -> None:
    run(*[Connection(Session(settled=1), fail)] * 3, Connection(Session()))
    assert backoff_calls == ["reset", "delay"] * 3


@pytest.mark.usefixtures("backoff_calls")
def test_session_that_gets_nothing_though_messages_wait_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_STALLED_AFTER_S", 0)
    turns = iter(range(100))
    assert run(Connection(Session(ready=5), lambda: next(turns)), Connection(Session())) == 2


def test_queue_is_not_empty_while_messages_wait_that_are_not_yet_delivered() -> None:
    waiting = Session(ready=9)

    def turn() -> None:
        waiting.ready = max(0, waiting.ready - 1)

    run(Connection(waiting, turn), Connection(Session()), until_empty=True)
    assert waiting.ready_in_the_end == 0


@pytest.mark.usefixtures("backoff_calls")
def test_broker_that_was_there_once_is_waited_for_however_long_it_is_away() -> None:
    away = [LOST, errors.BrokerRefused("not now")] * 10
    assert run(Connection(Session(), fail), *away, Connection(Session()), startup_timeout_s=0) == 22


@pytest.mark.usefixtures("backoff_calls")
@pytest.mark.parametrize("error", [LOST, errors.BrokerRefused("never")])
def test_broker_that_was_never_there_is_an_error_in_time(error: errors.BrokerError) -> None:
    with pytest.raises(type(error)):
        run(error, Connection(Session()), startup_timeout_s=0)


@pytest.mark.usefixtures("backoff_calls")
def test_broker_that_was_never_there_is_waited_for_with_patience() -> None:
    assert run(LOST, errors.BrokerRefused("never"), Connection(Session()), startup_timeout_s=None) == 3


def test_database_that_hangs_at_the_start_is_no_reason_to_start_anew_and_a_broker_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vitals, "_TURN_WITHIN_S", -1)  # as if it had hung for so long already
    live: list[bool] = []

    def check_database() -> None:
        live.append(consumer.health.is_live)

    def connect() -> Any:
        live.append(consumer.health.is_live)
        consumer.stop()
        return Connection(Session())

    consumer = Consumer(connect, Store(), check_database, lambda _letters: (frozenset(), None), Limits("queue"))
    consumer.run()
    assert live == [True, False]


def test_consumer_that_cannot_store_is_not_healthy() -> None:
    healthy: list[bool] = []
    store = StoreThatIsAway()

    def turn() -> None:
        if healthy:
            return  # it is being stopped
        healthy.append(consumer.health.is_ready)
        connection.deliver(delivery(RememberingSession(), 1))
        assert store.asked_again.wait(10)
        healthy.append(consumer.health.is_ready)
        consumer.stop()

    connection = Connection(Session(), turn)
    consumer = make(lambda: connection, store, database_retry_limit_s=0.001)
    consumer.run()
    assert healthy == [True, False]


class FullSession(Session):
    """A session that has room for nothing more."""

    def __init__(self) -> None:
        super().__init__()
        self.is_full = True
        self.is_waiting, self._is_woken = threading.Event(), threading.Event()

    def wait_for_room(self, time_limit_s: float) -> None:
        self.is_waiting.set()
        self.was_woken = self._is_woken.wait(5)

    def wake(self) -> None:
        self._is_woken.set()


def test_full_session_is_waited_on_until_it_is_time_to_stop_and_received_on_for_no_time() -> None:
    full, limits = FullSession(), []
    connection = Connection(full)
    connection.process = limits.append  # type: ignore[method-assign]
    consumer = make(lambda: connection, Store())
    running = threading.Thread(target=consumer.run)
    running.start()
    assert full.is_waiting.wait(10)
    consumer.stop()
    running.join(10)
    assert full.was_woken
    assert limits[0] == 0


def test_summary_is_said_while_messages_come(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(summary, "_EVERY_S", 0)
    caplog.set_level(logging.INFO)

    def turn() -> None:
        if consumer.tally.deliveries:
            consumer.stop()
        connection.deliver(delivery(RememberingSession(), 1))

    connection = Connection(Session(), turn)
    consumer = make(lambda: connection, StoreThatIsAway(), database_retry_limit_s=0.001)
    consumer.run()
    assert "summary" in [getattr(record, "event", "") for record in caplog.records]
