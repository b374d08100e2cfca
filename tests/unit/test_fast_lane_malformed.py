"""What breaks AMQP's rules ends the connection, by pika as by the lane, and delivers nothing wrong before."""

from __future__ import annotations

import struct

import pika
import pytest
from pika import spec

from rpi_health.broker.fast_lane import FastConnection
from tests.peer import BODY, HEADER, METHOD, make_content, make_deliver, make_frame, make_header, make_method
from tests.unit.clients import OTHER, OURS, receive

PLAIN = pika.SelectConnection
GOOD = make_content(1, make_deliver(OURS, 7), b"good")
DELIVER, RETURN = make_method(1, make_deliver(OURS, 8)), make_method(1, spec.Basic.Return(312, "NO_ROUTE", "", "key"))
METHOD_PAYLOAD = DELIVER[spec.FRAME_HEADER_SIZE : -spec.FRAME_END_SIZE]
HEADER_PAYLOAD = struct.pack(">HHQ", 60, 0, 4) + b"\x00\x00"
EVIL = make_frame(BODY, 1, b"evil")
THEIRS = make_content(1, make_deliver(OTHER, 9), b"evil")
BROKEN = {
    "method's end": [make_frame(METHOD, 1, METHOD_PAYLOAD, end=0xCD)],
    "header's end": [DELIVER, make_frame(HEADER, 1, HEADER_PAYLOAD, end=0)],
    "body's end": [DELIVER, make_header(1, 4), make_frame(BODY, 1, b"evil", end=0xFF)],
    "unknown kind": [make_frame(9, 1, b"evil")],
    "unknown kind within a delivery": [DELIVER, make_frame(4, 1, b"evil")],
    "no method at all": [make_frame(METHOD, 1)],
    "unknown method": [make_frame(METHOD, 1, b"\x00\x3c\x03\xe7")],
    "header of another class": [DELIVER, make_header(1, 4, content_class=10), EVIL],
    "body without a delivery": [EVIL],
    "empty body without a delivery": [make_frame(BODY, 1)],
    "empty header without a delivery": [make_header(1, 0)],
    "body before its header": [DELIVER, EVIL, make_header(1, 4)],
    "empty body before its header": [DELIVER, make_frame(BODY, 1), make_header(1, 0)],
    "body longer than announced": [DELIVER, make_header(1, 3), EVIL],
    "body with a frame too many": [DELIVER, make_header(1, 3), *(make_frame(BODY, 1, part) for part in (b"ev", b"il"))],
}
#: pika does not notice these, and mixes them up.
MIXED_UP = {
    "delivery before the header of another": [DELIVER, *GOOD],
    "delivery within the body of another": [DELIVER, make_header(1, 8), EVIL, *GOOD],
    "another's delivery within a body": [DELIVER, make_header(1, 8), EVIL, *THEIRS],
    "returned message within a body": [DELIVER, make_header(1, 4), RETURN, make_header(1, 4), EVIL],
    "two headers": [DELIVER, make_header(1, 8), make_header(1, 4), EVIL],
    "two headers, one within the body": [DELIVER, make_header(1, 8), EVIL, make_header(1, 4), EVIL],
}


@pytest.mark.parametrize("frames", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("base", [PLAIN, FastConnection])
def test_broken_frame_ends_the_connection_and_is_not_delivered(
    base: type[pika.SelectConnection], frames: list[bytes]
) -> None:
    outcome = receive(base, [b"".join([*GOOD, *frames, *GOOD])])
    assert outcome.trouble is not None
    assert outcome.bodies == [b"good"]


@pytest.mark.parametrize("frames", MIXED_UP.values(), ids=MIXED_UP)
def test_contents_within_each_other_end_the_connection(frames: list[bytes]) -> None:
    outcome = receive(FastConnection, [*GOOD, *frames, *GOOD])
    assert outcome.trouble is not None
    assert outcome.events == receive(FastConnection, GOOD).events


@pytest.mark.parametrize("size", range(len(METHOD_PAYLOAD)))
def test_delivery_that_is_cut_short_is_treated_as_by_pika(size: int) -> None:
    frames = [make_frame(METHOD, 1, METHOD_PAYLOAD[:size]), make_header(1, 4), make_frame(BODY, 1, b"body")]
    expected = receive(PLAIN, frames)
    outcome = receive(FastConnection, frames)
    assert (outcome.trouble is None) == (expected.trouble is None)
    assert outcome.bodies == expected.bodies


@pytest.mark.parametrize("size", range(len(HEADER_PAYLOAD)))
@pytest.mark.parametrize("base", [PLAIN, FastConnection])
def test_header_that_is_cut_short_ends_the_connection(base: type[pika.SelectConnection], size: int) -> None:
    outcome = receive(base, [DELIVER, make_frame(HEADER, 1, HEADER_PAYLOAD[:size]), make_frame(BODY, 1, b"body")])
    assert outcome.trouble is not None
    assert outcome.events == []
