"""When a lane begins and ends, what becomes of the rest when a callback fails, and when pika is another."""

from __future__ import annotations

from typing import Any

import pika
import pytest
from pika import spec
from pika.connection import Connection

from rpi_health.broker import fast_lane
from rpi_health.broker.fast_lane import FastConnection
from tests.peer import BODY, make_content, make_deliver, make_frame, make_header, make_method
from tests.unit.clients import COMING, INTERRUPTING, LEAVING, OTHER, OURS, Client, Interrupted, receive

PLAIN = pika.SelectConnection


def deliver(consumer: str, tag: int, body: bytes) -> list[bytes]:
    return make_content(1, make_deliver(consumer, tag), body)


@pytest.mark.parametrize("closed_by", ["client", "broker"])
@pytest.mark.parametrize("within_delivery", [False, True])
def test_lane_ends_with_its_channel_and_the_next_of_that_number_has_none(closed_by: str, within_delivery: bool) -> None:
    with Client(FastConnection) as client:
        client.feed(make_method(1, spec.Basic.CancelOk(LEAVING)), make_method(1, spec.Basic.ConsumeOk(COMING)))
        client.feed(*deliver(OURS, 1, b"one")[: 2 if within_delivery else 3])
        if closed_by == "client":
            client.channels[0].close()
            client.converse()
        else:
            client.feed(make_method(1, spec.Channel.Close(406, "PRECONDITION_FAILED", 60, 80)))
        again = client.open_channel()
        assert again.channel_number == 1
        taken: list[bytes] = []
        again.basic_consume("queue", lambda *delivery: taken.append(delivery[-1]), consumer_tag=OURS)
        client.converse()
        assert client.feed(*deliver(OURS, 1, b"two")).trouble is None
    assert taken == [b"two"]


@pytest.mark.parametrize("consumer", [OURS, OTHER])
def test_interrupted_callback_costs_none_of_what_follows(consumer: str) -> None:
    stream = b"".join([*deliver(consumer, 1, INTERRUPTING), *deliver(OURS, 2, b"two"), *deliver(OTHER, 3, b"three")])
    outcomes = []
    for base in (PLAIN, FastConnection):
        with Client(base) as client:
            with pytest.raises(Interrupted):
                client.feed(stream[:5], stream[5:-1])
            outcomes.append(client.feed(stream[-1:]))
    assert outcomes[0].bodies == [INTERRUPTING, b"two", b"three"]
    assert (outcomes[1].events, outcomes[1].leftover) == (outcomes[0].events, b"")


def test_parts_of_a_delivery_are_not_kept_for_the_next() -> None:
    first, second = (make_content(1, make_deliver(OURS, tag), b"in two frames", cuts=[4]) for tag in (1, 2))
    outcome = receive(FastConnection, [*first, *second])
    assert outcome.bodies == [b"in two frames"] * 2


def test_body_of_many_frames_is_put_together() -> None:
    parts = [bytes([number % 256]) * 1000 for number in range(300)]
    frames = [make_method(1, make_deliver(OURS, 1)), make_header(1, 300_000)]
    stream = b"".join([*frames, *(make_frame(BODY, 1, part) for part in parts)])
    outcome = receive(FastConnection, [stream[at : at + 4096] for at in range(0, len(stream), 4096)])
    assert outcome.bodies == [b"".join(parts)]


def test_delivery_whose_properties_are_cut_short_comes_without_them() -> None:
    """By pika it would end the connection, and when it is redelivered the next one, and so on."""
    cut_short = make_content(1, make_deliver(OURS, 1), b"body", b"\x00\x40\x00")
    assert receive(PLAIN, cut_short).trouble is not None
    outcome = receive(FastConnection, cut_short)
    assert (outcome.trouble, outcome.bodies) == (None, [b"body"])


def test_installed_pika_is_known() -> None:
    assert fast_lane.is_known()


def another(_self: Any, *_args: Any) -> None:
    """Does something else."""


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        *((Connection, name) for name in ("_on_data_available", "_trim_frame_buffer", "_process_frame")),
        (Connection, "_add_channel_callbacks"),
        (PLAIN, "_on_data_available"),
        (PLAIN, "_proto_data_received"),
        (PLAIN, "_proto_connection_made"),
        (pika.BlockingConnection, "__init__"),
    ],
)
def test_pika_of_another_build_is_not_known(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> None:
    monkeypatch.setattr(owner, name, another, raising=False)
    assert not fast_lane.is_known()


@pytest.mark.parametrize("name", ["_on_data_available", "_proto_data_received", "_add_channel_callbacks"])
def test_pika_that_lacks_something_is_not_known(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    owner = next(each for each in PLAIN.__mro__ if name in vars(each))
    monkeypatch.delattr(owner, name)
    assert not fast_lane.is_known()
