from __future__ import annotations

import threading
from datetime import datetime, timezone
from typing import Any

from rpi_health.consumer.intake import Intake
from rpi_health.delivery import Delivery, Properties

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


def delivery(tag: int, session: Any = "one") -> Delivery:
    return Delivery(session, tag, False, False, NOW, Properties(), b"")


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
    assert intake.take(10) == []


def test_a_lone_delivery_wakes_a_waiting_writer() -> None:
    intake, taken = Intake(), []
    writer = threading.Thread(target=lambda: taken.extend(intake.take(10)))
    writer.start()
    intake.put(delivery(1))
    writer.join(10)
    assert tags(taken) == [1]
