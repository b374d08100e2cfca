from __future__ import annotations

import threading
from datetime import datetime, timezone
from typing import Any

import pytest

from rpi_health.consumer import intake as intake_module
from rpi_health.consumer.intake import MAX_BATCH_BYTES, Intake
from rpi_health.delivery import Delivery, Properties
from rpi_health.payload.jsontext import MAX_BODY_BYTES

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


def delivery(tag: int, session: Any = "one", body: bytes = b"") -> Delivery:
    return Delivery(session, tag, False, False, NOW, Properties(), body)


def tags(batch: list[Delivery]) -> list[int]:
    return [each.tag for each in batch]


def test_a_batch_is_what_is_there_up_to_the_limit() -> None:
    intake = Intake()
    for tag in range(1, 6):
        intake.put(delivery(tag))
    assert tags(intake.take(3)) == [1, 2, 3]
    assert tags(intake.take(3)) == [4, 5]


def test_a_batch_never_mixes_sessions() -> None:
    intake = Intake()
    for each in (delivery(1), delivery(2), delivery(1, "two"), delivery(2, "two")):
        intake.put(each)
    assert tags(intake.take(10)) == [1, 2]
    assert tags(intake.take(10)) == [1, 2]


def test_a_closed_intake_gives_what_it_holds_and_then_nothing() -> None:
    intake = Intake()
    intake.put(delivery(1))
    intake.close()
    assert tags(intake.take(10)) == [1]
    assert intake.take(10) is None


def test_a_lone_delivery_wakes_a_waiting_writer() -> None:
    intake, taken = Intake(), []
    writer = threading.Thread(target=lambda: taken.extend(intake.take(10)))
    writer.start()
    intake.put(delivery(1))
    writer.join(10)
    assert tags(taken) == [1]


@pytest.mark.parametrize(
    ("sizes", "batches"),
    [
        ([40, 40, 40, 40], [[1, 2, 3], [4]]),
        ([99, 1, 1], [[1, 2], [3]]),
        ([100, 1], [[1], [2]]),
        ([1000, 1000, 0], [[1], [2], [3]]),
        ([0, 0, 1000, 0], [[1, 2, 3], [4]]),
        ([33, 33, 33], [[1, 2, 3]]),
    ],
)
def test_a_batch_grows_until_its_bodies_have_so_many_bytes(
    monkeypatch: pytest.MonkeyPatch, sizes: list[int], batches: list[list[int]]
) -> None:
    monkeypatch.setattr(intake_module, "MAX_BATCH_BYTES", 100)
    intake = Intake()
    for tag, size in enumerate(sizes, 1):
        intake.put(delivery(tag, body=bytes(size)))
    intake.close()
    assert [tags(batch) for batch in iter(lambda: intake.take(10), None)] == batches


def test_a_batch_of_the_largest_reports_is_not_longer_than_its_bytes_allow() -> None:
    intake = Intake()
    for tag in range(1, 101):
        intake.put(delivery(tag, body=bytes(MAX_BODY_BYTES)))
    assert len(intake.take(500)) == MAX_BATCH_BYTES // MAX_BODY_BYTES
