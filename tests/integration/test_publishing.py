"""What counts as published: what the broker has taken responsibility for, in the queue that was meant."""

from __future__ import annotations

from collections.abc import Iterator

from rpi_health.broker import Broker, Outgoing
from rpi_health.delivery import Properties
from rpi_health.errors import BrokerUnavailable
from tests.amqp import Amqp

FULL_AFTER_TWO = {"x-max-length": 2, "x-overflow": "reject-publish"}


def test_what_a_full_queue_refuses_is_reported_by_its_position(amqp: Amqp) -> None:
    amqp.declare(arguments=FULL_AFTER_TWO)
    amqp.publish([b"filler"])
    outcome = Broker([amqp.url]).publish(amqp.queue, (Outgoing(b"%d" % number) for number in range(5)))
    in_the_queue = [body for _, body in amqp.get_all()]
    assert outcome.published == 5
    assert [b"%d" % number for number in range(5) if number not in outcome.failed] == in_the_queue[1:]
    assert isinstance(outcome.error, BrokerUnavailable)
    assert "is full" in str(outcome.error)


def test_what_finds_its_queue_gone_is_not_confirmed(amqp: Amqp) -> None:
    amqp.declare()

    def delete_meanwhile() -> Iterator[Outgoing]:
        with amqp.channel() as channel:
            channel.queue_delete(amqp.queue)
        yield Outgoing(b"1")

    outcome = Broker([amqp.url]).publish(amqp.queue, delete_meanwhile())
    assert outcome.failed == {0}
    assert "was deleted" in str(outcome.error)


def test_what_is_confirmed_is_in_the_queue_and_outlives_a_restart_of_the_broker(amqp: Amqp) -> None:
    outcome = Broker([amqp.url]).publish(amqp.queue, [Outgoing(b"body", Properties(message_id="m1"), {"x-own": 1})])
    assert (outcome.confirmed, outcome.failed, outcome.error) == (1, frozenset(), None)
    ((properties, body),) = amqp.get_all()
    assert (body, properties.message_id, properties.headers) == (b"body", "m1", {"x-own": 1})
    assert properties.delivery_mode == 2
    amqp.declare()  # durable; an error if it were not
