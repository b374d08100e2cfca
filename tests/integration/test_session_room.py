"""A session that has received as much as it may receives only a little more, until something is settled."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pika
import pytest

from rpi_health.broker import Broker, Connection, Session, session
from rpi_health.delivery import Delivery
from tests.amqp import Amqp
from tests.waiting import wait_until

BOUND = 1024 * 1024
BODY = b"x" * 100_000
MESSAGES = 60
#: What pika reads in one turn: 100 KiB and what is left of a read, up to 64 KiB.
TURN = 164 * 1024


@pytest.fixture(autouse=True)
def bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MAX_UNSETTLED_BYTES", BOUND)


class Receiving:
    """A session, received on as the consumer does."""

    def __init__(self, amqp: Amqp) -> None:
        self.connection: Connection = Broker([amqp.url]).connect()
        self.deliveries: list[Delivery] = []
        self.session: Session = self.connection.open_session(amqp.queue, 1000, self.deliveries.append)

    @property
    def bytes(self) -> int:
        return sum(len(delivery.body) for delivery in self.deliveries)

    @property
    def bytes_heard(self) -> int:
        """By these, a connection is told from a dead one."""
        return int(self.connection._asynchronous.bytes_received)

    def turn(self) -> None:
        self.session.wait_for_room(0.02)
        self.connection.process(0 if self.session.is_full else 0.02)

    def fill(self) -> None:
        def is_full() -> bool:
            self.turn()
            return self.session.is_full

        wait_until(is_full, 10, "the session to be full")

    def settle(self, count: int) -> None:
        """Settle so many more."""
        first = self.session.settled + 1
        self.session.settle(range(first, first + count))


@pytest.fixture
def receiving(amqp: Amqp, way: str) -> Iterator[Receiving]:
    amqp.publish([BODY] * MESSAGES)
    receiving = Receiving(amqp)
    yield receiving
    receiving.session.close()
    receiving.connection.close()


def test_full_session_hears_of_the_broker_though_it_receives_little(receiving: Receiving) -> None:
    receiving.fill()
    assert receiving.bytes <= BOUND + TURN + len(BODY)
    for turns in range(1, 11):
        heard = receiving.bytes_heard
        receiving.turn()
        receiving.turn()
        assert receiving.bytes_heard > heard
        assert receiving.bytes <= BOUND + (2 * turns + 1) * TURN + len(BODY)


def test_session_receives_on_as_room_is_made_until_nothing_is_left(receiving: Receiving) -> None:
    while receiving.session.settled < MESSAGES:
        unsettled = len(receiving.deliveries) - receiving.session.settled
        assert unsettled * len(BODY) <= BOUND + 3 * TURN + len(BODY)
        receiving.settle(unsettled)
        receiving.turn()
    assert not receiving.session.is_full
    assert len(receiving.deliveries) == MESSAGES


def test_room_is_waited_for_only_while_there_is_none_and_nothing_is_settled(receiving: Receiving) -> None:
    began = time.monotonic()
    receiving.session.wait_for_room(60)
    receiving.fill()
    threading.Timer(0.1, receiving.settle, [1]).start()
    receiving.session.wait_for_room(60)
    receiving.connection.process(0.05)
    receiving.fill()
    threading.Timer(0.1, receiving.session.wake).start()
    receiving.session.wait_for_room(60)
    assert time.monotonic() - began < 30


def test_headers_count_for_what_they_may_take_when_they_are_decoded(amqp: Amqp) -> None:
    large = pika.BasicProperties(delivery_mode=2, headers={"site": "x" * 60_000})
    amqp.publish([b""] * 5, large)
    receiving = Receiving(amqp)
    receiving.fill()
    receiving.settle(len(receiving.deliveries))
    receiving.connection.process(0.05)
    receiving.session.close()
    receiving.connection.close()
