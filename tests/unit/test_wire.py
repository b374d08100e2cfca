"""No header that a broker passes on may end the connection that reads it, or stop the dead letter that copies it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pika
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika import data as pika_data
from pika import spec

from rpi_health.broker import wire
from rpi_health.delivery import Properties

FAR_MS = 1_790_000_000_000


@pytest.fixture(autouse=True, scope="module")
def guard() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spec, "data", pika_data)
        wire.guard_decoder()
        yield


def entry(name: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + value


def sized(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack(">I", len(content)) + content


def nested(kind: bytes, depth: int) -> bytes:
    value = b"V"
    for _ in range(depth):
        value = sized(kind, entry(b"a", value) if kind == b"F" else value)
    return value


def received(table: bytes) -> pika.BasicProperties:
    """What pika makes of a message with these headers, and a property before and behind them."""
    flags = spec.BasicProperties.FLAG_CONTENT_TYPE | spec.BasicProperties.FLAG_HEADERS
    flags |= spec.BasicProperties.FLAG_DELIVERY_MODE | spec.BasicProperties.FLAG_MESSAGE_ID
    header = struct.pack(">H", flags) + b"\x04text" + struct.pack(">I", len(table)) + table + b"\x02\x02m1"
    return pika.BasicProperties().decode(header)


def headers_of(table: bytes) -> dict[Any, Any]:
    properties = received(table)
    assert (properties.content_type, properties.delivery_mode, properties.message_id) == ("text", 2, "m1")
    assert isinstance(properties.headers, dict)
    return properties.headers


def sent_headers(headers: dict[Any, Any]) -> dict[Any, Any]:
    """What the next consumer finds in the headers of a copy, without its own."""
    pieces = wire.basic_properties(Properties(headers=headers), {"own": 1}).encode()
    found = dict(pika.BasicProperties().decode(b"".join(pieces)).headers)
    assert found.pop("own") == 1
    return found


def depth_of(value: Any) -> int:
    depth = 0
    while isinstance(value, (dict, list)) and value:
        value = next(iter(value.values())) if isinstance(value, dict) else value[0]
        depth += 1
    return depth


@pytest.mark.parametrize("kind", [b"F", b"A"])
def test_deep_nesting_is_cut_and_its_neighbours_are_kept(kind: bytes) -> None:
    table = entry(b"site", sized(b"S", b"roof")) + entry(b"deep", nested(kind, 1000)) + entry(b"floor", b"b\x07")
    headers = headers_of(table)
    assert (headers["site"], headers["floor"]) == ("roof", 7)
    assert 1 < depth_of(headers["deep"]) <= 32


@pytest.mark.parametrize(
    ("value", "decoded"),
    [
        (b"T" + struct.pack(">Q", FAR_MS), FAR_MS),
        (b"T" + b"\xff" * 8, (1 << 64) - 1),
        (b"d" + struct.pack(">d", float("inf")), float("inf")),
        (b"d" + struct.pack(">d", 1.5), 1.5),
        (b"D\xff" + struct.pack(">i", -1), Decimal("-1E-255")),
        (sized(b"S", b"\xff"), b"\xff"),
        (sized(b"A", b"T" + struct.pack(">Q", FAR_MS) + b"V"), [FAR_MS, None]),
        (sized(b"F", entry(b"a", b"?")), {"a": None}),
    ],
)
def test_value_that_pika_cannot_represent_becomes_a_plain_one(value: bytes, decoded: object) -> None:
    assert headers_of(entry(b"at", value) + entry(b"site", sized(b"S", b"roof"))) == {"at": decoded, "site": "roof"}


def test_nan_becomes_a_number_and_then_text() -> None:
    headers = headers_of(entry(b"f", b"f" + struct.pack(">f", float("nan"))))
    assert str(headers["f"]) == "nan"
    assert sent_headers(headers) == {"f": "nan"}


@pytest.mark.parametrize(
    "rest", [b"?", b"", b"S", sized(b"S", b"xy")[:-1], b"l\x00", b"A\xff\xff\xff\xff", b"S\x7f\xff\xff\xffx", b"T" * 5]
)
def test_what_comes_before_a_broken_value_is_kept(rest: bytes) -> None:
    headers = headers_of(entry(b"site", sized(b"S", b"roof")) + entry(b"broken", rest))
    assert headers["site"] == "roof"


def test_name_that_ends_beyond_the_table_is_left_out() -> None:
    assert headers_of(entry(b"n", b"V") + b"\xffname") == {"n": None}


@given(st.binary(max_size=8) | st.binary(max_size=200))
def test_no_bytes_in_a_table_end_the_connection(table: bytes) -> None:
    sent_headers(headers_of(table))


FRAGMENT = st.sampled_from([b"\x01a", *(bytes([kind]) for kind in b"tbBUuIiLlfdDsSxATFV?"), struct.pack(">I", 3)])


@given(st.lists(FRAGMENT | st.binary(max_size=9)).map(b"".join))
def test_nothing_that_looks_like_a_table_ends_the_connection(table: bytes) -> None:
    sent_headers(headers_of(table))


@given(st.binary(max_size=40), st.integers(0, 40))
def test_length_beyond_the_frame_never_raises(encoded: bytes, offset: int) -> None:
    headers, end = spec.data.decode_table(encoded, offset)
    assert isinstance(headers, dict)
    assert end >= offset


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.text(max_size=9)
    | st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1)).map(
        lambda at: at.replace(microsecond=0, tzinfo=timezone.utc)
    )
    | st.decimals(-(2**31), 2**31 - 1, places=0)
    | st.integers(-(2**31), 2**31 - 1).map(lambda raw: Decimal(raw).scaleb(-3))
)
NAMES = st.text(max_size=9)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner), max_leaves=12)


@given(st.dictionaries(NAMES, VALUES))
def test_sound_values_beside_a_broken_one_are_kept_as_they_were_sent(headers: dict[str, Any]) -> None:
    pieces: list[bytes] = []
    pika_data.encode_table(pieces, headers)
    broken = entry(b"\xff", b"T" + b"\xff" * 8)
    assert headers_of(broken + b"".join(pieces[1:])) == {b"\xff": (1 << 64) - 1, **headers}


def test_guard_is_installed_once() -> None:
    installed = spec.data.decode_table
    wire.guard_decoder()
    assert spec.data.decode_table is installed


def deep(depth: int, wrap: Any) -> Any:
    value: Any = None
    for _ in range(depth):
        value = wrap(value)
    return value


ODD = (
    SCALARS
    | st.integers()
    | st.floats()
    | st.decimals()
    | st.binary(max_size=9)
    | st.datetimes(timezones=st.none() | st.just(timezone(timedelta(hours=9))))
    | st.text(st.characters(), max_size=9)
    | st.sampled_from([datetime.min, Decimal("1E-300"), Decimal("sNaN"), "\ud800", "x" * 9000, object()])
    | st.just(5000).map(lambda digits: 10**digits)
    | st.integers(0, 3000).map(lambda depth: deep(depth, lambda inner: [inner]))
    | st.integers(0, 3000).map(lambda depth: deep(depth, lambda inner: {"a": inner}))
    | st.integers(0, 3000).map(lambda depth: deep(depth, lambda inner: (inner,)))
)
ODD_NAMES = NAMES | st.binary(max_size=300) | st.sampled_from(["x" * 256, "é" * 128, "\ud800", 7, None])
ODD_VALUES = st.recursive(ODD, lambda inner: st.lists(inner) | st.dictionaries(ODD_NAMES, inner), max_leaves=12)


@given(st.dictionaries(ODD_NAMES, ODD_VALUES))
def test_any_decoded_headers_can_be_sent_within_the_limit(headers: dict[Any, Any]) -> None:
    properties = wire.basic_properties(Properties(headers=headers), {})
    assert pika_data.encode_table([], properties.headers) <= wire.MAX_HEADER_BYTES
    properties.encode()


def test_header_that_cannot_be_encoded_becomes_text_or_is_left_out() -> None:
    before_1970 = datetime(1960, 1, 1, tzinfo=timezone.utc)
    headers = {
        "at": before_1970,
        "big": 1 << 64,
        "digits": [Decimal("1.50"), 0.5],
        "raw": b"\xff",
        "x" * 256: 1,
        "inner": {"y" * 256: 1, "z": None},
        b"\xff": 1,
    }
    assert sent_headers(headers) == {
        "at": str(before_1970),
        "big": "18446744073709551616",
        "digits": ["1.50", "0.5"],
        "raw": b"\xff",
        "inner": {"z": None},
        b"\xff": 1,
    }


def test_header_too_large_to_copy_leaves_room_for_those_behind_it() -> None:
    assert sent_headers({"big": "x" * 20_000, "CC": ["elsewhere"], "site": "roof"}) == {"site": "roof"}


def encoded(**properties: Any) -> bytes:
    return b"".join(pika.BasicProperties(**properties).encode())


def test_properties_that_most_messages_have_are_decoded_once_but_large_ones_are_not_kept() -> None:
    small, large = encoded(headers={"site": "roof"}), encoded(headers={"site": "x" * 100_000})
    assert wire.decode_properties(small) is wire.decode_properties(bytes(bytearray(small)))
    assert wire.decode_properties(large) == wire.decode_properties(large)
    assert wire.decode_properties(large) is not wire.decode_properties(large)


def test_properties_that_are_cut_short_are_none() -> None:
    assert wire.decode_properties(encoded(content_type="text", timestamp=1)[:-1]) == Properties()
