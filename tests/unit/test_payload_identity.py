"""Which reports are the same one: what makes a redelivery change nothing, and keeps two heartbeats apart."""

from __future__ import annotations

import gzip
from datetime import timedelta
from typing import Any

import pytest

from tests.unit.payload_helpers import EARLIER, RECEIVED_AT, body_of, read

LATER = RECEIVED_AT + timedelta(hours=1)
DATED = body_of(timestamp=EARLIER.isoformat())
UNDATED = body_of(cpu_percent=1)


def key(body: bytes, **envelope: Any) -> tuple[Any, ...]:
    report = read(body, **envelope)
    return report.raspberry_id, report.reported_at, report.digest


def test_redelivered_dated_report_is_the_same() -> None:
    assert key(DATED) == key(DATED, received_at=LATER, delivery_key=b"another", waiting=True)


def test_report_dated_by_its_header_is_the_same_when_redelivered() -> None:
    headers = {"timestamp_in_ms": 1704164645250}

    assert key(UNDATED, headers=headers) == key(UNDATED, headers=headers, received_at=LATER, delivery_key=b"another")


def test_dated_report_needs_no_receipt() -> None:
    assert read(DATED, message_id="m").receipt is None


def test_two_reports_of_one_instant_differ_by_their_bodies() -> None:
    assert key(DATED) != key(DATED + b" ")


def test_digest_is_of_the_body_on_the_wire() -> None:
    assert read(DATED).digest != read(gzip.compress(DATED)).digest


def test_redelivered_message_id_is_the_same_though_undated() -> None:
    first = read(UNDATED, message_id="m")
    again = read(UNDATED, message_id="m", received_at=LATER, delivery_key=b"another")

    assert first.digest == again.digest
    assert first.receipt == again.receipt == first.digest


def test_message_ids_tell_identical_heartbeats_apart() -> None:
    assert read(UNDATED, message_id="m1").digest != read(UNDATED, message_id="m2").digest


def test_message_id_used_twice_does_not_hide_another_body() -> None:
    assert read(UNDATED, message_id="m").digest != read(UNDATED + b" ", message_id="m").digest


def test_message_id_cannot_pass_for_the_beginning_of_the_body() -> None:
    assert read(b" " + UNDATED, message_id="m").digest != read(UNDATED, message_id="m ").digest


@pytest.mark.parametrize("message_id", [None, "", b""])
def test_undated_report_without_a_message_id_is_its_delivery(message_id: Any) -> None:
    first = read(UNDATED, message_id=message_id)
    second = read(UNDATED, message_id=message_id, delivery_key=b"another")

    assert first.digest != second.digest
    assert first.receipt is second.receipt is None


def test_message_id_cannot_pass_for_a_delivery() -> None:
    assert read(UNDATED, message_id="k").digest != read(UNDATED, delivery_key=b"k").digest


@pytest.mark.parametrize("message_id", ["ü", "\ud800", "\0", "x" * 255, b"\xff", 7, [], ["m"], {"a": 1}])
def test_message_id_may_be_anything(message_id: Any) -> None:
    assert len(read(UNDATED, message_id=message_id).digest) == 16


@pytest.mark.parametrize("body", [DATED, UNDATED])
def test_digest_has_16_bytes(body: bytes) -> None:
    assert len(read(body).digest) == 16
