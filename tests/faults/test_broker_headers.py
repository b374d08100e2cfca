"""Headers and properties that a broker passes on: none of them ends the connection, and a dead letter keeps them."""

from __future__ import annotations

import struct

import pika
import pytest

from tests.trial import Trial

FAR_MS = 1_790_000_000_000


@pytest.fixture
def trial(sqlite_trial: Trial) -> Trial:
    return sqlite_trial


class FarTimestampProperties(pika.BasicProperties):
    """A header of timestamp type in milliseconds where seconds belong: some producers send it, pika cannot."""

    def encode(self) -> list[bytes]:
        table = b"\x02atT" + struct.pack(">Q", FAR_MS)
        return [struct.pack(">HI", self.FLAG_HEADERS | self.FLAG_DELIVERY_MODE, len(table)), table, b"\x02"]


class DeepProperties(pika.BasicProperties):
    """Headers nested deeper than Python's stack: RabbitMQ passes them on, pika cannot read them."""

    def encode(self) -> list[bytes]:
        table, array = b"V", b"V"
        for _ in range(1_000):
            table = b"F" + struct.pack(">I", len(table) + 2) + b"\x01a" + table
        for _ in range(900):
            array = b"A" + struct.pack(">I", len(array)) + array
        headers = b"\x05table" + table + b"\x05array" + array + b"\x04siteS\x00\x00\x00\x04roof"
        flags = self.FLAG_HEADERS | self.FLAG_DELIVERY_MODE | self.FLAG_MESSAGE_ID
        return [struct.pack(">HI", flags, len(headers)), headers, b"\x02", b"\x02m1"]


def consume(trial: Trial, properties: pika.BasicProperties) -> pika.BasicProperties:
    """Consume a report and a bad message with these properties, in one session. Returns those of the dead letter."""
    bad = b"\xff\x00bad"
    trial.traffic.bad.add(bad)
    trial.amqp.publish([*trial.traffic.make_reports(1), bad], properties)
    consumer = trial.consume("--until-empty")
    assert consumer.process.wait(30) == 0, consumer.output
    counts = consumer.counts()
    assert (counts["sessions"], counts["redelivered"]) == (1, 0)
    ((dead, body),) = trial.amqp.get_all(trial.amqp.dead_letter_queue)
    # Back for the judge, who looks for it there.
    trial.amqp.publish([body], queue=trial.amqp.dead_letter_queue)
    trial.assert_nothing_lost(counts)
    return dead


def test_header_that_pika_cannot_decode_does_not_end_the_connection(trial: Trial) -> None:
    assert consume(trial, FarTimestampProperties()).headers["at"] == FAR_MS


def test_deeply_nested_headers_do_not_end_the_connection(trial: Trial) -> None:
    dead = consume(trial, DeepProperties())
    assert {"table", "array"} <= set(dead.headers)
    assert (dead.headers["site"], dead.message_id, dead.delivery_mode) == ("roof", "m1", 2)


def test_dead_letter_is_the_message_verbatim_without_what_would_route_or_expire_it(trial: Trial) -> None:
    properties = pika.BasicProperties(
        content_type="text/plain",
        headers={"site": "roof", "big": "x" * 20_000, "CC": ["elsewhere"]},
        message_id="m1",
        correlation_id="c1",
        type="t",
        app_id="a",
        priority=3,
        timestamp=1_790_000_000,
        expiration="600000",
        user_id="athavus",
        delivery_mode=2,
    )
    dead = consume(trial, properties)
    kept = ("content_type", "message_id", "correlation_id", "type", "app_id", "priority", "timestamp", "delivery_mode")
    assert {name: getattr(dead, name) for name in kept} == {name: getattr(properties, name) for name in kept}
    assert (dead.expiration, dead.user_id) == (None, None)
    own = {name for name in dead.headers if name.startswith("x-rpi-health-")}
    assert set(dead.headers) - own == {"site"}
    assert own == {f"x-rpi-health-{n}" for n in ("reason", "detail", "queue", "received-at", "redelivered", "version")}
