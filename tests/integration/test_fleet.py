"""Which devices the database tells of, and in which order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest
import sqlalchemy as sa

from rpi_health import fleet
from rpi_health.database import create_engine
from rpi_health.device import SORTS, Selection
from rpi_health.errors import UnknownDevice
from rpi_health.payload import decode
from rpi_health.report import Envelope
from rpi_health.store import Store

NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
#: In the order in which they were heard of, the last one first.
FLEET = {
    "pi-2": {"cpu_temp": "60°C", "cpu_percent": 5.0, "mem_usage": "10%"},
    "pi-10": {"cpu_temp": "40°C", "mem_usage": "90%"},
    "PI-3": {"cpu_percent": 50.0, "mem_usage": "700 MB"},
    "a%b_c!d": {"cpu_temp": "50°C", "cpu_percent": 7.5, "mem_usage": "512 MB"},
    "[pi]*": {},
}
ACCENTED = "k\u00fcche"


@pytest.fixture
def engine(migrated_url: str) -> Iterator[sa.Engine]:
    """A database with the fleet."""
    writing = create_engine(migrated_url, writer=True)
    store = Store(writing)
    for minutes, (device, fields) in enumerate(FLEET.items()):
        at = NOON - timedelta(minutes=minutes)
        body = json.dumps({"id": device, "timestamp": at.isoformat(), **fields}).encode()
        assert store.write([decode(body, Envelope(at, body))]) == []
    store.close()
    engine = create_engine(migrated_url)
    yield engine
    engine.dispose()


def ids(engine: sa.Engine, **selection: object) -> list[str]:
    return [device.raspberry_id for device in fleet.devices(engine, Selection(**selection))]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sort", "first", "without"),
    [
        ("heard", list(FLEET), []),
        ("temp", ["pi-2", "a%b_c!d", "pi-10"], ["PI-3", "[pi]*"]),
        ("cpu", ["PI-3", "a%b_c!d", "pi-2"], ["[pi]*", "pi-10"]),
        ("mem", ["pi-10", "pi-2", "PI-3", "a%b_c!d"], ["[pi]*"]),
    ],
)
def test_greatest_value_comes_first_and_what_has_none_last(
    engine: sa.Engine, sort: str, first: list[str], without: list[str]
) -> None:
    found = ids(engine, sort=sort)
    assert (found[: len(first)], sorted(found[len(first) :])) == (first, without)
    backwards = ids(engine, sort=sort, reverse=True)
    if sort != "mem":  # of which there are two: percent, and bytes
        assert backwards[: len(first)] == first[::-1]
    assert sorted(backwards[len(first) :]) == without


def test_ids_are_sorted_as_text(engine: sa.Engine) -> None:
    found = ids(engine, sort="id")
    assert sorted(found) == sorted(FLEET)
    assert found.index("pi-10") < found.index("pi-2")
    assert ids(engine, sort="id", reverse=True) == found[::-1]


@pytest.mark.parametrize("sort", SORTS)
def test_limit_takes_the_first_of_the_order(engine: sa.Engine, sort: str) -> None:
    assert ids(engine, sort=sort, limit=2) == ids(engine, sort=sort)[:2]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", set(FLEET)),
        ("pi-*", {"pi-2", "pi-10"}),
        ("pi-?", {"pi-2"}),
        ("?i-*", {"pi-2", "pi-10"}),
        ("PI-3", {"PI-3"}),
        ("pi-3", set()),
        ("a%*", {"a%b_c!d"}),
        ("a%b_c!d", {"a%b_c!d"}),
        ("p%", set()),
        ("pi_2", set()),
        ("[pi]*", {"[pi]*"}),
        ("[a-z]*", set()),
        ("*!d", {"a%b_c!d"}),
        ("", set()),
        ("' OR 1=1 --", set()),
    ],
)
def test_pattern_means_the_same_on_each_database(engine: sa.Engine, pattern: str, expected: set[str]) -> None:
    assert set(ids(engine, ids=pattern)) == expected


def test_id_is_found_as_people_type_it(engine: sa.Engine, migrated_url: str) -> None:
    writing = create_engine(migrated_url, writer=True)
    store = Store(writing)
    body = json.dumps({"id": ACCENTED}).encode()
    assert store.write([decode(body, Envelope(NOON, body))]) == []
    store.close()
    writing.dispose()
    for typed in (ACCENTED, "ku\u0308che", f" {ACCENTED}\n"):
        assert fleet.device(engine, typed).raspberry_id == ACCENTED


def test_all_are_counted(engine: sa.Engine) -> None:
    assert fleet.count(engine) == len(FLEET)


def test_unknown_device_is_told_from_those_that_are_spelled_alike(engine: sa.Engine) -> None:
    assert fleet.device(engine, "pi-10").raspberry_id == "pi-10"
    with pytest.raises(UnknownDevice, match=r"No device pi-01 has reported. Did you mean pi-10"):
        fleet.device(engine, "pi-01")
    with pytest.raises(UnknownDevice, match=r"No device \\x1b\[2J has reported. `rpi-health status` lists"):
        fleet.device(engine, "\x1b[2J")
