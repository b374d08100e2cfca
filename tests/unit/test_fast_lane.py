"""What comes by the lane is what pika itself would have delivered, in the same place among everything else."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import pika
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika import data as pika_data
from pika import spec

from rpi_health.broker import wire
from rpi_health.broker.fast_lane import FastConnection
from tests.peer import BODY, HEARTBEAT, NO_PROPERTIES, make_content, make_deliver, make_frame, make_header, make_method
from tests.unit.clients import COMING, ELSEWHERE, LEAVING, OTHER, OURS, receive

PLAIN = pika.SelectConnection
BEAT = make_frame(HEARTBEAT, 0)


@pytest.fixture(autouse=True, scope="module")
def guard() -> Iterator[None]:
    """By pika alone, some of the headers would end the connection."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spec, "data", pika_data)
        wire.guard_decoder()
        yield


def short(text: bytes) -> bytes:
    return bytes([len(text)]) + text


def sized(table: bytes) -> bytes:
    return struct.pack(">I", len(table)) + table


def encode_table(headers: dict[str, Any]) -> bytes:
    pieces: list[bytes] = []
    pika_data.encode_table(pieces, headers)
    return b"".join(pieces)


def encode(fields: Sequence[bytes | None]) -> bytes:
    """Properties, from those that are there, each encoded already."""
    flags = sum(1 << 15 - position for position, field in enumerate(fields) if field is not None)
    return struct.pack(">H", flags) + b"".join(filter(None, fields))


# ── By hand ───────────────────────────────────────────────────────────────────────────────────────────────────────────

FAR = b"\x02at" + b"T" + b"\xff" * 8
PROPERTIES = bytes(b"".join(pika.BasicProperties("text", headers={"site": "roof"}, message_id="m1").encode()))


def ours(tag: int, body: bytes = b"", properties: bytes = NO_PROPERTIES, cuts: Sequence[int] = ()) -> list[bytes]:
    return make_content(1, make_deliver(OURS, tag, redelivered=tag % 2 == 0), body, properties, cuts)


def theirs(channel: int, consumer: str, tag: int, body: bytes, cuts: Sequence[int] = ()) -> list[bytes]:
    return make_content(channel, make_deliver(consumer, tag), body, PROPERTIES, cuts)


def returned(channel: int, body: bytes) -> list[bytes]:
    return make_content(channel, spec.Basic.Return(312, "NO_ROUTE", "", "key"), body)


def between(frames: list[bytes], *others: bytes) -> list[bytes]:
    """Other frames between each two of these."""
    return [each for frame in frames for each in (frame, *others)][: -len(others)]


ACK, BLOCKED = make_method(1, spec.Basic.Ack(7, True)), make_method(0, spec.Connection.Blocked("memory"))
BY_HAND = {
    "deliveries of all sizes": [*ours(1), *ours(2, b"x"), *ours(3, b"two frames", PROPERTIES, [4]), *ours(4)],
    "tags of eight bytes": [*ours((1 << 63) + 5, b"far"), *ours(6, b"near")],
    "an empty frame within a body": [
        make_method(1, make_deliver(OURS, 1)),
        make_header(1, 4),
        *(make_frame(BODY, 1, part) for part in (b"", b"ab", b"", b"cd")),
        *ours(2, b"next"),
    ],
    "methods and heartbeats between frames": between(
        ours(1, b"interrupted", PROPERTIES, [3]), BEAT, ACK, make_method(1, spec.Channel.Flow(True)), BLOCKED
    ),
    "another channel between frames": between(ours(1, b"interrupted", cuts=[3]), *theirs(2, ELSEWHERE, 1, b"whole")),
    "within that of another channel": between(theirs(2, ELSEWHERE, 1, b"outer", [2]), *ours(1, b"inner", cuts=[2])),
    "other consumers of the channel": [
        *theirs(1, OTHER, 1, b"not ours", [3]),
        *ours(2, b"ours"),
        *theirs(1, LEAVING, 3, b"rejected"),
        *ours(4, b"ours again", cuts=[5]),
    ],
    "returned messages": [*returned(1, b"back"), *ours(1, b"mine"), *returned(1, b""), *returned(2, b"back")],
    "answers and cancels": [
        make_method(1, spec.Basic.ConsumeOk(COMING)),
        *ours(1, b"one"),
        *theirs(1, COMING, 2, b"two"),
        make_method(1, spec.Basic.CancelOk(LEAVING)),
        make_method(1, spec.Basic.Cancel(OTHER, True)),
        *ours(3, b"three"),
        make_method(1, spec.Basic.Cancel(OURS, True)),
    ],
    "hostile headers": [
        *ours(1, b"one", encode([None, None, sized(FAR)])),
        *ours(2, b"two", encode([short(b"\xff"), None, sized(b"\xff" * 9), None, None, short(b"\xc3")])),
        *ours(3, b"three", encode([None, None, b"\xff\xff\xff\xff" + FAR])),
        *ours(4, b"four", encode([None, None, sized(b"\x01a" + b"F\x00\x00\x00\x07" * 60)])),
    ],
    "a channel that the broker closes": [
        *ours(1, b"before")[:-1],
        make_method(1, spec.Channel.Close(406, "PRECONDITION_FAILED", 60, 80)),
        *theirs(2, ELSEWHERE, 1, b"alive"),
    ],
    "the broker's goodbye": [*ours(1, b"last"), make_method(0, spec.Connection.Close(320, "SHUTDOWN", 0, 0))],
}


@pytest.mark.parametrize("frames", BY_HAND.values(), ids=BY_HAND)
def test_stream_is_received_as_by_pika_wherever_it_is_cut(frames: list[bytes]) -> None:
    stream = b"".join(frames)
    expected = receive(PLAIN, [stream])
    assert (expected.trouble, expected.frames_received, expected.leftover) == (None, len(frames), b"")
    for cut in range(1, len(stream)):
        assert receive(FastConnection, [stream[:cut], stream[cut:]]) == expected
    assert receive(FastConnection, [stream]) == expected
    assert receive(FastConnection, [stream[at : at + 1] for at in range(len(stream))]) == expected


# ── At random ─────────────────────────────────────────────────────────────────────────────────────────────────────────

SHORT = st.binary(max_size=5).map(short)
TABLE = (
    st.just(sized(FAR))
    | st.binary(max_size=30).map(sized)
    | st.dictionaries(st.text(max_size=3), st.integers(0, 9)).map(encode_table)
)
TIME = st.binary(min_size=8, max_size=8)
OCTET = st.binary(min_size=1, max_size=1)
# In the order of the specification: content type and encoding, headers, delivery mode …
FIELDS = [SHORT, SHORT, TABLE, OCTET, OCTET, SHORT, SHORT, SHORT, SHORT, TIME, SHORT, SHORT, SHORT, SHORT]
ANY_PROPERTIES = st.just(NO_PROPERTIES) | st.tuples(*(st.none() | field for field in FIELDS)).map(encode)


def contents(channel: int, *consumers: str) -> st.SearchStrategy[list[bytes]]:
    deliver = st.builds(make_deliver, st.sampled_from(consumers), st.integers(1, 1 << 40), redelivered=st.booleans())
    method = deliver | st.just(spec.Basic.Return(312, "NO_ROUTE", "", "key"))
    body, cuts = st.binary(max_size=9), st.lists(st.integers(1, 8), max_size=3)
    return st.builds(make_content, st.just(channel), method, body, ANY_PROPERTIES, cuts)


def methods(channel: int) -> st.SearchStrategy[bytes]:
    chosen = st.sampled_from(
        [
            spec.Basic.Ack(3, True),
            spec.Basic.Nack(4),
            spec.Basic.Cancel(OTHER, True),
            spec.Basic.ConsumeOk(COMING),
            spec.Basic.CancelOk(LEAVING),
            spec.Channel.Flow(False),
        ]
    )
    return chosen.map(lambda method: make_method(channel, method))


CONNECTION = st.sampled_from([BEAT, BLOCKED, make_method(0, spec.Connection.Unblocked())])


def merge(rng: random.Random, *sequences: list[bytes]) -> list[bytes]:
    """All of them in some order that keeps each one's own."""
    order = [number for number, sequence in enumerate(sequences) for _ in sequence]
    rng.shuffle(order)
    rests = [iter(sequence) for sequence in sequences]
    return [next(rests[number]) for number in order]


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """The chunks of a stream: two channels' contents, methods between their frames, and what is of no channel."""
    rng = draw(st.randoms(use_true_random=False))
    channels = []
    for number, consumers in ((1, (OURS, OURS, OTHER, LEAVING, COMING)), (2, (ELSEWHERE,))):
        frames = [frame for content in draw(st.lists(contents(number, *consumers), max_size=5)) for frame in content]
        channels.append(merge(rng, frames, draw(st.lists(methods(number), max_size=3))))
    stream = b"".join(merge(rng, *channels, draw(st.lists(CONNECTION, max_size=3))))
    stream = stream[: len(stream) - draw(st.integers(0, 20))]
    cuts = sorted({cut % (len(stream) + 1) for cut in draw(st.lists(st.integers(0, 1 << 12), max_size=9))})
    return [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)]) if start < end]


@given(streams())
def test_any_stream_is_received_as_by_pika(chunks: list[bytes]) -> None:
    expected = receive(PLAIN, [b"".join(chunks)])
    assert expected.trouble is None
    assert receive(FastConnection, chunks) == expected
