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
from rpi_health.hearing import Rules, hearing, state
from rpi_health.models import ConsumerHearing, DeviceStatus
from rpi_health.payload import decode
from rpi_health.render.units import COOL, HOT, WARM, heat
from rpi_health.report import Envelope
from rpi_health.store import Store

MINUTE = timedelta(minutes=1)
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
    return [device.raspberry_id for device in fleet.look(engine, Selection(**selection), Rules())[0]]  # type: ignore[arg-type]


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
        assert fleet.device(engine, typed, Rules()).raspberry_id == ACCENTED


def hear(engine: sa.Engine, *spans: tuple[float, float]) -> None:
    """Note that the fleet was being heard from and until these minutes after noon."""
    with engine.begin() as connection:
        for since, until in spans:
            values = {"heard_from": NOON + since * MINUTE, "heard_until": NOON + until * MINUTE}
            connection.execute(sa.insert(ConsumerHearing).values(values))


def report_intervals(engine: sa.Engine, intervals: dict[str, float]) -> None:
    with engine.begin() as connection:
        for device, interval_s in intervals.items():
            own = sa.update(DeviceStatus).where(DeviceStatus.raspberry_id == device)
            connection.execute(own.values(interval_s=interval_s))


def states(engine: sa.Engine) -> dict[str, str]:
    return {device.raspberry_id: device.state for device in fleet.look(engine, Selection(), Rules())[0]}


def test_devices_are_judged_as_of_the_last_moment_when_somebody_listened(engine: sa.Engine) -> None:
    # The devices were heard of at noon, a minute before, two minutes before …
    assert list(states(engine).values()) == ["late", "late", "late", "online", "online"]  # as of the last report
    hear(engine, (-99, 2))
    assert states(engine) == dict(zip(reversed(FLEET), ["offline", "offline", "late", "late", "late"]))
    hear(engine, (62, 63))  # an hour in which nobody listened
    assert set(states(engine).values()) == {"offline", "late"}
    assert states(engine)["pi-2"] == "late"
    overview = fleet.look(engine, Selection(), Rules())[1]
    assert (overview.heard_until, sum(overview.counts.values())) == (NOON + 63 * MINUTE, len(FLEET))


def test_trouble_comes_first_and_can_be_chosen(engine: sa.Engine) -> None:
    hear(engine, (-99, 1))
    assert ids(engine) == ["[pi]*", "pi-10", "PI-3", "a%b_c!d", "pi-2"]
    assert ids(engine, states=("offline",)) == ["[pi]*"]
    assert ids(engine, states=("online", "offline")) == ["[pi]*", "pi-2"]
    overview = fleet.look(engine, Selection(states=("late",), limit=1), Rules())[1]
    assert overview.counts == {"online": 1, "late": 3, "offline": 1}


def test_figures_are_of_the_whole_fleet_however_few_are_chosen(migrated_url: str, engine: sa.Engine) -> None:
    celsius = {"pi-2": 80.0, "pi-10": 79.95, "PI-3": 79.94, "a%b_c!d": 74.95, "[pi]*": 74.94}
    writing = create_engine(migrated_url, writer=True)
    with writing.begin() as connection:
        for device, degrees in celsius.items():
            one = sa.update(DeviceStatus).where(DeviceStatus.raspberry_id == device)
            connection.execute(one.values(cpu_temp_celsius=degrees))
    writing.dispose()
    assert [heat(degrees) for degrees in celsius.values()] == [HOT, HOT, WARM, WARM, COOL]
    overview = fleet.look(engine, Selection("[[]none*", limit=1), Rules())[1]
    assert (overview.hot, overview.warm, overview.last_report) == (2, 2, NOON)
    assert sum(overview.counts.values()) == len(celsius)


def test_fleet_without_devices_has_figures(migrated_url: str) -> None:
    engine = create_engine(migrated_url)
    devices, overview = fleet.look(engine, Selection(), Rules())
    engine.dispose()
    assert (devices, set(overview.counts.values())) == ([], {0})
    assert (overview.hot, overview.warm, overview.last_report, overview.heard_until) == (0, 0, None, None)


@pytest.mark.parametrize(
    "spans",
    [
        [],
        [(-99, 0)],
        [(-99, 30)],
        [(-99, -2.5), (-1.5, 5)],
        [(-99, -3.01), (-2.99, -1.5), (-1.2, -1.1), (-0.5, 1), (1.7, 4), (9, 12.3)],
    ],
)
def test_database_judges_as_the_rule_does(engine: sa.Engine, spans: list[tuple[float, float]]) -> None:
    hear(engine, *spans)
    report_intervals(engine, {"pi-10": 1.5, "PI-3": 90.0, "[pi]*": 1e308})
    rules = Rules(interval_s=30.0, late_after=1.5, offline_after=4.0)
    heard = [(NOON + since * MINUTE, NOON + until * MINUTE) for since, until in spans]
    found, _ = fleet.look(engine, Selection(), rules)
    known = hearing(heard, NOON)
    assert [device.state for device in found] == [
        state(device.last_update, device.interval_s, known, rules) for device in found
    ]
    assert len(found) == len(FLEET)


def test_device_that_was_never_heard_of_is_offline(engine: sa.Engine) -> None:
    hear(engine, (-99, 0))
    with engine.begin() as connection:
        connection.execute(sa.update(DeviceStatus).values(last_update=None))
    assert set(states(engine).values()) == {"offline"}


def test_unknown_device_is_told_from_those_that_are_spelled_alike(engine: sa.Engine) -> None:
    assert fleet.device(engine, "pi-10", Rules()).raspberry_id == "pi-10"
    with pytest.raises(UnknownDevice, match=r"No device pi-01 has reported. Did you mean pi-10"):
        fleet.device(engine, "pi-01", Rules())
    with pytest.raises(UnknownDevice, match=r"No device \\x1b\[2J has reported. `rpi-health status` lists"):
        fleet.device(engine, "\x1b[2J", Rules())
