"""What holds for every body whatsoever, looked for by Hypothesis; and that no body takes long."""

from __future__ import annotations

import gzip
import json
import math
import time
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpi_health.errors import REASONS, Rejection
from rpi_health.payload import decode
from rpi_health.report import (
    CPU_TEMP_LENGTH,
    DEVICE_ID_LENGTH,
    MEM_USAGE_LENGTH,
    WIFI_STATUS_LENGTH,
    Envelope,
    Report,
    State,
)
from rpi_health.text import clean
from tests.unit.payload_helpers import EARLIER, ENVELOPE, RECEIVED_AT, SEED_EXAMPLE

KEYS = [*SEED_EXAMPLE, "led_internal_status", "led_external_status", "interval_s", "timestamp", "hostname"]
ANY_TEXT = st.text(st.characters(), max_size=20)  # lone surrogates and controls, too
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | st.integers(-(2**70), 2**70),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(ANY_TEXT, inner, max_size=5),
    max_leaves=20,
)
NUMERIC_TEXT = st.from_regex(r"[+-]?[0-9]{1,25}([.,][0-9]{1,5})?(e[0-9]{1,4})? ?(%|°C|'C|[kMGT]?i?B)?", fullmatch=True)
NEAR_REPORTS = st.dictionaries(st.sampled_from(KEYS) | ANY_TEXT, JSON | NUMERIC_TEXT, max_size=12).map(
    lambda fields: {"id": "pi", **fields}
)
ENVELOPES = st.builds(
    Envelope,
    received_at=st.just(RECEIVED_AT),
    delivery_key=st.binary(max_size=16),
    waiting=st.booleans(),
    content_encoding=st.sampled_from([None, "gzip", "utf-8", "br", ""]) | ANY_TEXT,
    message_id=st.none() | ANY_TEXT,
    timestamp=st.none() | st.integers(0, 2**64 - 1),
    headers=st.dictionaries(st.just("timestamp_in_ms") | ANY_TEXT, JSON | st.binary(max_size=8), max_size=3),
)
JSON_COLUMNS = ("spi_buses", "i2c_buses", "net_ifaces", "extra", "report_warnings")
COUNT_LIMITS = {
    "gpio_used_count": 2**31 - 1,
    "usb_devices_count": 2**31 - 1,
    "net_bytes_sent": 2**63 - 1,
    "net_bytes_recv": 2**63 - 1,
    "mem_used_bytes": 2**63 - 1,
}
TEXT_LIMITS = {"wifi_status": WIFI_STATUS_LENGTH, "mem_usage": MEM_USAGE_LENGTH, "cpu_temp": CPU_TEMP_LENGTH}
FLOATS = ("mem_percent", "cpu_temp_celsius", "cpu_percent", "interval_s")


def strings_in(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for part in pair for text in strings_in(part)]
    return [text for element in value for text in strings_in(element)] if isinstance(value, list) else []


def numbers_in(value: Any) -> list[float]:
    if isinstance(value, dict):
        return numbers_in(list(value.values()))
    if isinstance(value, list):
        return [number for element in value for number in numbers_in(element)]
    return [value] if type(value) in (int, float) else []


def assert_storable(report: Report) -> None:
    state = report.state
    assert 0 < len(report.raspberry_id) <= DEVICE_ID_LENGTH
    for text in strings_in([report.raspberry_id, *state]):
        assert "\0" not in text
        text.encode()
    for column in JSON_COLUMNS:
        value = getattr(state, column)
        assert json.loads(json.dumps(value, allow_nan=False)) == value
        assert all(-(2**63) <= number < 2**64 for number in numbers_in(value) if type(number) is int)
    for column, limit in COUNT_LIMITS.items():
        value = getattr(state, column)
        assert value is None or (type(value) is int and 0 <= value <= limit)
    for column, limit in TEXT_LIMITS.items():
        value = getattr(state, column)
        assert value is None or (type(value) is str and len(value) <= limit)
    for column in FLOATS:
        value = getattr(state, column)
        assert value is None or (type(value) is float and math.isfinite(value))
    assert_bounded(state)


def assert_bounded(state: State) -> None:
    assert state.interval_s is None or state.interval_s > 0
    assert type(state.led_internal_status) in (bool, type(None))
    assert type(state.led_external_status) in (bool, type(None))
    assert len(state.report_warnings or []) <= 32
    assert all(len(warning) <= 200 and clean(warning) == warning for warning in state.report_warnings or [])
    assert len(state.extra or {}) <= 256


def assert_explained(refused: Rejection) -> None:
    assert refused.reason in REASONS
    assert 0 < len(refused.detail) <= 300
    assert clean(refused.detail) == refused.detail


def assert_judged(body: bytes, envelope: Envelope = ENVELOPE) -> None:
    """A body is stored whole and sane, or refused for one of the reasons; nothing else ever happens."""
    try:
        report = decode(body, envelope)
    except Rejection as refused:
        assert_explained(refused)
    else:
        assert_storable(report)


@given(st.binary(max_size=200), ENVELOPES)
def test_any_bytes_are_judged(body: bytes, envelope: Envelope) -> None:
    assert_judged(body, envelope)


@given(st.sampled_from([b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\xff\xfe\0\0", b"\x1f\x8b\x08"]), st.binary())
def test_any_bytes_after_a_magic_are_judged(magic: bytes, body: bytes) -> None:
    assert_judged(magic + body)


@given(JSON, st.booleans(), ENVELOPES)
def test_any_json_is_judged(value: Any, ascii_only: bool, envelope: Envelope) -> None:
    assert_judged(json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass"), envelope)


@given(NEAR_REPORTS, st.booleans(), ENVELOPES)
def test_anything_like_a_report_is_judged(fields: dict[str, Any], ascii_only: bool, envelope: Envelope) -> None:
    assert_judged(json.dumps(fields, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass"), envelope)


@given(NEAR_REPORTS)
def test_field_is_lost_rather_than_the_report(fields: dict[str, Any]) -> None:
    assert_storable(decode(json.dumps({**fields, "id": "pi"}).encode(), ENVELOPE))


@given(st.data())
def test_any_damage_to_the_seeds_example_is_judged(data: st.DataObject) -> None:
    body = json.dumps(SEED_EXAMPLE, ensure_ascii=False).encode()
    start = data.draw(st.integers(0, len(body)))
    end = data.draw(st.integers(start, min(len(body), start + 4)))

    assert_judged(body[:start] + data.draw(st.binary(max_size=4)) + body[end:])


@given(st.lists(st.sampled_from(["[", "]", "{", "}", '"', "\\", ",", ":", "1", '"id"', "\n", "[" * 20, "]" * 20])))
def test_any_heap_of_json_tokens_is_judged(tokens: list[str]) -> None:
    assert_judged("".join(tokens).encode())


@given(NEAR_REPORTS, st.binary(), st.integers(0, 10**9), st.booleans())
def test_dated_message_is_the_same_whenever_it_is_delivered(
    fields: dict[str, Any], delivery_key: bytes, seconds: int, waiting: bool
) -> None:
    body = json.dumps({**fields, "id": "pi", "timestamp": EARLIER.isoformat()}).encode()
    first = decode(body, ENVELOPE)
    again = decode(body, Envelope(RECEIVED_AT + timedelta(seconds=seconds), delivery_key, waiting=waiting))

    assert (first.raspberry_id, first.reported_at, first.digest) == (
        again.raspberry_id,
        again.reported_at,
        again.digest,
    )
    assert first.state == again.state


@given(st.binary(), st.binary())
def test_undated_messages_are_as_different_as_their_deliveries(first_key: bytes, second_key: bytes) -> None:
    body = b'{"id":"pi"}'
    first, second = (decode(body, ENVELOPE._replace(delivery_key=key)) for key in (first_key, second_key))

    assert (first.digest == second.digest) == (first_key == second_key)


HOSTILE = {
    "lists": b"[" * 262_144,
    "objects": b'{"a":' * 52_000,
    "pairs_of_brackets": b'{"id":"pi","a":[' + b"[]," * 80_000 + b"[]]}",
    "quotes": b'"' * 262_144,
    "backslashes": b'{"id":"' + b"\\" * 262_000,
    "escaped_quotes": b'{"id":"' + b'\\"' * 131_000,
    "escapes_and_brackets": b'{"id":"pi","a":["' + b'\\\\[","' * 40_000,
    "digits": b'{"id":' + b"9" * 262_000 + b"}",
    "digits_as_metric": b'{"id":"pi","net_bytes_sent":' + b"9" * 262_000 + b"}",
    "digits_as_text": b'{"id":"pi","cpu_percent":"' + b"9" * 262_000 + b'"}',
    "digits_as_timestamp": b'{"id":"pi","timestamp":"' + b"9" * 262_000 + b'"}',
    "fraction": b'{"id":"pi","cpu_percent":0.' + b"9" * 262_000 + b"}",
    "whitespace": b" " * 262_144,
    "blank_id": b'{"id":"' + b" " * 262_000 + b'"}',
    "combining_id": b'{"id":"' + "\u0301\u0316".encode() * 60_000 + b'"}',
    "combining_text": b'{"id":"pi","wifi_status":"' + "\u0301\u0316".encode() * 60_000 + b'"}',
    "ids": b'{"id":1' + b',"id":1' * 37_000 + b"}",
    "keys": b"{" + b",".join(b'"%d":0' % n for n in range(25_000)) + b',"id":"pi"}',
    "invalid_utf8": b'{"id":"pi","wifi_status":"' + b"\xff" * 260_000 + b'"}',
    "invalid_utf8_keys": b'{"id":"pi"' + b"".join(b',"\xff%d":[1e999]' % n for n in range(15_000)) + b"}",
    "raw_controls": b'{"id":"pi","wifi_status":"' + b"\t" * 260_000 + b'"}',
    "surrogates": b'{"id":"pi","wifi_status":"' + b"\\ud800" * 43_000 + b'"}',
    "gzip_bomb": gzip.compress(b'{"id":"pi","a":[' + b"[]," * 345_000 + b"[]]}"),
    "gzip_members": gzip.compress(b"") * 13_000,
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_no_body_takes_long(body: bytes) -> None:
    started = time.process_time()
    assert_judged(body)

    assert time.process_time() - started < 3  # the slowest takes a tenth of it; anything quadratic, minutes
