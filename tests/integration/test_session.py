"""What a session promises of its deliveries and acks, on a real broker, in whatever way they are received."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from rpi_health.broker import Broker, Connection, Session
from rpi_health.delivery import Delivery
from rpi_health.errors import BrokerUnavailable
from tests.amqp import Amqp
from tests.proxy import Mode, Proxy
from tests.waiting import wait_until

BODIES = [b"%d" % number for number in range(1, 6)]


@pytest.fixture
def connection(amqp: Amqp, way: str) -> Iterator[Connection]:
    connection = Broker([amqp.url]).connect()
    yield connection
    connection.close()


class Consumed:
    """A session and what it delivered."""

    def __init__(self, connection: Connection, queue: str, prefetch: int = 100) -> None:
        self._connection = connection
        self.deliveries: list[Delivery] = []
        self.session: Session = connection.open_session(queue, prefetch, self.deliveries.append)

    @property
    def bodies(self) -> list[bytes]:
        return [delivery.body for delivery in self.deliveries]

    def wait(self, count: int) -> None:
        """Wait until so many deliveries have come."""

        def has_come() -> bool:
            self._connection.process(0.05)
            return len(self.deliveries) >= count

        wait_until(has_come, 10, f"{count} deliveries")

    def settle(self, *tags: int) -> None:
        """Settle, and have the acks sent."""
        self.session.settle(tags)
        self._connection.process(0.05)


def process_for(connection: Connection, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        connection.process(0.2)


def left(amqp: Amqp) -> list[bytes]:
    """What is in the queue, in its order."""
    return [body for _, body in amqp.get_all()]


@pytest.mark.parametrize(
    ("settled", "unsettled"),
    [
        ([[1, 2, 3]], [4, 5]),
        ([[2, 4]], [1, 3, 5]),
        ([[1, 3], [2]], [4, 5]),
        ([[5], [1, 2]], [3, 4]),
        ([[1], [2], [3], [4], [5]], []),
    ],
)
def test_acks_take_the_settled_messages_out_of_the_queue_and_no_others(
    amqp: Amqp, connection: Connection, settled: list[list[int]], unsettled: list[int]
) -> None:
    amqp.publish(BODIES)
    consumed = Consumed(connection, amqp.queue)
    consumed.wait(5)
    for group in settled:
        consumed.settle(*group)
        consumed.session.check()
    consumed.session.close()
    assert left(amqp) == [b"%d" % tag for tag in unsettled]


def test_acks_of_a_session_that_is_gone_take_nothing_from_the_next_one(amqp: Amqp, connection: Connection) -> None:
    amqp.publish(BODIES)
    first = Consumed(connection, amqp.queue)
    first.wait(5)
    first.session.close()
    second = Consumed(connection, amqp.queue)
    second.wait(5)
    first.settle(1, 2, 3, 4, 5)
    second.settle(5)
    second.session.check()
    second.session.close()
    assert left(amqp) == BODIES[:4]


def test_acks_of_a_session_that_was_given_up_are_dropped_though_its_channel_lives(
    amqp: Amqp, connection: Connection
) -> None:
    amqp.publish(BODIES)
    consumed = Consumed(connection, amqp.queue)
    consumed.wait(5)
    consumed.session.abandon()
    assert not consumed.session.is_open
    consumed.settle(1, 2, 3)
    connection.close()
    assert left(amqp) == BODIES


def test_acks_that_are_due_are_sent_before_the_session_is_closed(amqp: Amqp, connection: Connection) -> None:
    amqp.publish(BODIES)
    consumed = Consumed(connection, amqp.queue)
    consumed.wait(5)
    consumed.session.settle([1, 2, 3])
    consumed.session.close()
    assert consumed.session.settled == 3
    assert left(amqp) == BODIES[3:]


def test_no_more_than_the_prefetch_is_unsettled(amqp: Amqp, connection: Connection) -> None:
    amqp.publish(BODIES)
    consumed = Consumed(connection, amqp.queue, prefetch=2)
    consumed.wait(2)
    connection.process(0.2)
    assert consumed.bodies == BODIES[:2]
    consumed.settle(1)
    consumed.wait(3)
    connection.process(0.2)
    assert consumed.bodies == BODIES[:3]
    assert amqp.counts() == (2, 2)


def test_deleted_queue_ends_the_session(amqp: Amqp, connection: Connection) -> None:
    amqp.declare()
    consumed = Consumed(connection, amqp.queue)
    with amqp.channel() as channel:
        channel.queue_delete(amqp.queue)

    def has_noticed() -> bool:
        connection.process(0.05)
        try:
            consumed.session.check()
        except BrokerUnavailable as error:
            return "was it deleted?" in str(error)
        return False

    wait_until(has_noticed, 10, "the session to end")


def test_after_stop_taking_nothing_comes_and_what_came_can_be_settled(amqp: Amqp, connection: Connection) -> None:
    amqp.publish(BODIES[:2])
    consumed = Consumed(connection, amqp.queue)
    consumed.wait(2)
    consumed.session.stop_taking()
    amqp.publish(BODIES[2:])
    connection.process(0.2)
    assert consumed.bodies == BODIES[:2]
    consumed.settle(1)
    consumed.session.close()
    assert sorted(left(amqp)) == BODIES[1:]


def test_queue_is_consumed_as_it_is_whatever_its_arguments(amqp: Amqp, connection: Connection) -> None:
    amqp.declare(arguments={"x-queue-type": "quorum", "x-message-ttl": 600_000})
    amqp.publish(BODIES)
    Consumed(connection, amqp.queue).wait(5)


def test_missing_queue_is_declared_as_producers_declare_it(amqp: Amqp, connection: Connection) -> None:
    Consumed(connection, amqp.queue)
    amqp.declare()  # an error if it had other arguments


def test_message_has_waited_if_it_was_there_before_the_session_or_was_delivered_before(
    amqp: Amqp, connection: Connection
) -> None:
    amqp.publish(BODIES[:2])
    consumed = Consumed(connection, amqp.queue)
    consumed.wait(2)
    amqp.publish(BODIES[2:3])
    consumed.wait(3)
    assert [(each.waiting, each.redelivered) for each in consumed.deliveries] == [(True, False)] * 2 + [(False, False)]
    # Given back by another consumer, it comes once more.
    second = Broker([amqp.url]).connect()
    other = Consumed(second, amqp.queue)
    amqp.publish(BODIES[3:])
    other.wait(1)
    other.session.close()
    second.close()
    consumed.wait(5)
    given_back = {each.body for each in consumed.deliveries if each.redelivered}
    assert given_back == set(other.bodies)
    assert all(each.waiting for each in consumed.deliveries if each.redelivered)


@pytest.fixture
def proxy(amqp: Amqp) -> Iterator[Proxy]:
    amqp.declare()
    with Proxy(amqp.server.port) as proxy:
        yield proxy


def connect_through(proxy: Proxy, amqp: Amqp, options: str = "") -> Connection:
    return Broker([amqp.url.replace(f":{amqp.server.port}/", f":{proxy.port}/") + options]).connect()


def test_broker_that_falls_silent_is_given_up_soon_after_its_heartbeat_is_due(amqp: Amqp, proxy: Proxy) -> None:
    heartbeat_s = 1
    connection = connect_through(proxy, amqp, f"?heartbeat={heartbeat_s}")
    Consumed(connection, amqp.queue)
    proxy.mode = Mode.STALL
    silent_at = time.monotonic()
    with pytest.raises(BrokerUnavailable, match="nothing was heard"):
        process_for(connection, 20)
    # By itself, pika looks twice as seldom.
    assert time.monotonic() - silent_at < heartbeat_s + 5 + 3
    connection.close()


@pytest.mark.timeout(30)
def test_connection_is_given_up_when_it_is_time_though_an_answer_is_waited_for(amqp: Amqp, proxy: Proxy) -> None:
    connection = connect_through(proxy, amqp)
    consumed = Consumed(connection, amqp.queue)
    proxy.mode = Mode.STALL
    silent_at = time.monotonic()
    connection.give_up_at(silent_at + 1)
    consumed.session.close()
    connection.close()
    assert 1 <= time.monotonic() - silent_at < 10


def test_error_that_is_none_of_amqps_is_a_lost_connection(amqp: Amqp, connection: Connection) -> None:
    """After a lost stream pika raises ValueError and AssertionError as well."""

    def fail(_delivery: Delivery) -> None:
        raise ValueError("none of AMQP's")

    amqp.publish(BODIES)
    connection.open_session(amqp.queue, 10, fail)
    with pytest.raises(BrokerUnavailable, match="was lost or does not answer"):
        process_for(connection, 10)
    connection.close()
    assert left(amqp) == BODIES
