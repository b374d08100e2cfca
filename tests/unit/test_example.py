"""The example report, and the ids under which it is sent for a fleet."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from itertools import islice

import pytest

from rpi_health.example import REPORT, bodies, device_ids
from rpi_health.payload import decode
from rpi_health.report import Envelope


@pytest.mark.parametrize(
    ("first", "count", "ids"),
    [
        ("raspberry-01", 1, ["raspberry-01"]),
        ("raspberry-01", 3, ["raspberry-01", "raspberry-02", "raspberry-03"]),
        ("raspberry-09", 2, ["raspberry-09", "raspberry-10"]),
        ("pi-99", 2, ["pi-99", "pi-100"]),
        ("pi-0099", 2, ["pi-0099", "pi-0100"]),
        ("7", 2, ["7", "8"]),
        ("pi4-b2", 2, ["pi4-b2", "pi4-b3"]),
        ("pi", 3, ["pi", "pi-2", "pi-3"]),
        ("pi4-", 2, ["pi4-", "pi4--2"]),
        ("温度計\n1", 2, ["温度計\n1", "温度計\n2"]),
        ("", 2, ["", "-2"]),
    ],
)
def test_devices_are_numbered_from_the_first_id_on(first: str, count: int, ids: list[str]) -> None:
    assert list(device_ids(first, count)) == ids


def test_ids_are_all_different() -> None:
    assert len(set(device_ids("raspberry-95", 2000))) == 2000


def test_body_is_the_example_with_its_id_first() -> None:
    (body,) = bodies("raspberry-01", 1, 1, {})
    assert json.loads(body) == {"id": "raspberry-01", **REPORT}
    assert body.startswith(b'{"id": "raspberry-01", ')
    assert "48°C".encode() in body


def test_devices_take_turns() -> None:
    ids = [json.loads(body)["id"] for body in bodies("pi-1", 2, 5, {})]
    assert ids == ["pi-1", "pi-2", "pi-1", "pi-2", "pi-1"]


def test_changes_replace_and_add_keys_and_may_replace_the_id() -> None:
    (body,) = bodies("pi", 1, 1, {"cpu_temp": None, "new": [1], "id": 7})
    assert json.loads(body) == {**REPORT, "id": 7, "cpu_temp": None, "new": [1]}


def test_bodies_are_made_when_they_are_asked_for() -> None:
    assert len(list(islice(bodies("pi", 1, 10**12, {}), 3))) == 3


def test_example_is_understood_without_a_warning() -> None:
    (body,) = bodies("raspberry-01", 1, 1, {})
    report = decode(body, Envelope(datetime(2026, 1, 1, tzinfo=timezone.utc), b"key"))
    assert report.raspberry_id == "raspberry-01"
    assert not report.state.report_warnings
    assert (report.state.cpu_temp_celsius, report.state.mem_used_bytes) == (48.0, 512_000_000)
