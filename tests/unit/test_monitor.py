"""Metrics: all that the catalogue has is there from the start, by Prometheus' conventions; and nobody is waited for."""

from __future__ import annotations

import math
import re
import threading
import time
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.metrics_core import Metric

from rpi_health import errors
from rpi_health.consumer.tally import Tally
from rpi_health.device import Device
from rpi_health.health import Health
from rpi_health.monitor import ConsumerCollector, Fleet, FleetCollector, Site, Watch, catalogue, watch
from rpi_health.presence import Overview

AT = datetime(2026, 1, 1, tzinfo=timezone.utc)
NO_VALUES = dict.fromkeys(Device.__dataclass_fields__)
COUNTS = {"online": 1, "late": 0, "offline": 1}


def consumer(tally: Tally | None = None, health: Health | None = None, backlog: int | None = 7) -> Any:
    return SimpleNamespace(tally=tally or Tally(), health=health or Health(), backlog=backlog)


def device(raspberry_id: str, **values: Any) -> Device:
    return Device(**{**NO_VALUES, "raspberry_id": raspberry_id, "state": "online", **values})


def fleet(*devices: Device) -> Fleet:
    return Fleet(devices, Overview(COUNTS, 1, 0, AT, [], None))


def values(metrics: Any) -> dict[str, dict[tuple[str, ...], float]]:
    """By name of the sample, then by values of the labels."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for metric in metrics:
        for sample in metric.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def is_of(family: catalogue.Family, metric: Metric) -> bool:
    name = metric.name + ("_total" if metric.type == "counter" else "")
    return (name, metric.type, metric.documentation) == (family.name, family.kind, family.help)


@pytest.mark.parametrize(
    ("families", "collector"),
    [
        (catalogue.CONSUMER, ConsumerCollector(consumer())),
        ((*catalogue.FLEET, *catalogue.DEVICE), FleetCollector(lambda: None)),
    ],
)
def test_each_metric_of_the_catalogue_is_offered_in_its_order(families: Any, collector: Any) -> None:
    offered = list(collector.collect())
    assert len(offered) == len(families)
    assert all(map(is_of, families, offered))


def test_names_carry_their_units_and_what_kind_they_are() -> None:
    names = [family.name for family in catalogue.FAMILIES]
    assert len(set(names)) == len(names)
    for family in catalogue.FAMILIES:
        assert re.fullmatch(r"rpi_health(_[a-z0-9]+)+", family.name)
        assert family.name.endswith("_total") == (family.kind == "counter")
        assert family.help.endswith(".")
        assert not re.search(r"_(percent|ms|minutes|kb)\b", family.name)


def test_every_value_of_every_label_is_there_from_the_start() -> None:
    found = values([*ConsumerCollector(consumer()).collect(), *FleetCollector(lambda: None).collect()])
    for family in (*catalogue.CONSUMER, *catalogue.FLEET):
        if family.values:
            assert set(found[family.name]) == {(value,) for value in family.values}
    assert found["rpi_health_messages_dead_lettered_total"][("poison",)] == 0


def test_what_was_counted_is_offered() -> None:
    tally = Tally()
    tally.deliveries, tally.stored, tally.stale, tally.sessions, tally.retries = 12, 10, 2, 3, 4
    tally.dead_lettered["bad_json"] += 2
    tally.last_commit_at = AT
    for size in (1, 3, 500, 20_000):
        tally.batch_sizes.observe(size)
    found = values(ConsumerCollector(consumer(tally)).collect())
    assert found["rpi_health_messages_delivered_total"][()] == 12
    assert found["rpi_health_reports_stored_total"][()] == 10
    assert found["rpi_health_reports_stale_total"][()] == 2
    assert found["rpi_health_messages_dead_lettered_total"][("bad_json",)] == 2
    assert found["rpi_health_reconnects_total"][()] == 2
    assert found["rpi_health_retries_total"] == {("start",): 4, ("database",): 0, ("dead_letter",): 0}
    assert found["rpi_health_last_commit_timestamp_seconds"][()] == AT.timestamp()
    assert found["rpi_health_backlog_messages"][()] == 7
    buckets = found["rpi_health_batch_size_messages_bucket"]
    assert (buckets[("1.0",)], buckets[("5.0",)], buckets[("10000.0",)], buckets[("+Inf",)]) == (1, 2, 3, 4)
    assert found["rpi_health_batch_size_messages_sum"][()] == 20_504


@pytest.mark.parametrize(
    ("health", "live", "ready"),
    [(Health(), 1, 1), (Health(not_ready=("away",)), 1, 0), (Health(not_live=("hangs",)), 0, 0)],
)
def test_health_is_a_metric_as_well(health: Health, live: int, ready: int) -> None:
    found = values(ConsumerCollector(consumer(health=health)).collect())
    assert (found["rpi_health_live"][()], found["rpi_health_ready"][()]) == (live, ready)


def test_what_is_not_known_is_not_a_number() -> None:
    found = values([*ConsumerCollector(consumer(backlog=None)).collect(), *FleetCollector(lambda: None).collect()])
    assert found["rpi_health_fleet_known"][()] == 0
    for name in ("backlog_messages", "hot_devices", "last_report_timestamp_seconds", "left_out_devices"):
        assert math.isnan(found[f"rpi_health_{name}"][()])
    assert all(math.isnan(value) for value in found["rpi_health_devices"].values())


def test_device_has_series_in_base_units_and_none_for_what_it_does_not_tell() -> None:
    seen = device("pi-1", cpu_temp_celsius=48.5, cpu_percent=12.5, mem_percent=45.0, net_bytes_sent=7, last_update=AT)
    found = values(FleetCollector(lambda: fleet(seen, device("pi-2", state="offline"))).collect())
    assert found["rpi_health_device_up"] == {("pi-1",): 1, ("pi-2",): 0}
    assert found["rpi_health_device_cpu_temperature_celsius"] == {("pi-1",): 48.5}
    assert found["rpi_health_device_cpu_usage_ratio"] == {("pi-1",): 0.125}
    assert found["rpi_health_device_memory_used_ratio"] == {("pi-1",): 0.45}
    assert found["rpi_health_device_network_sent_bytes_total"] == {("pi-1",): 7}
    assert found["rpi_health_device_last_heard_timestamp_seconds"][("pi-1",)] == AT.timestamp()
    assert "rpi_health_device_usb_devices" not in found
    assert found["rpi_health_left_out_devices"][()] == 0


def test_value_that_is_no_number_costs_no_other() -> None:
    odd = device("odd", cpu_temp_celsius="hot", cpu_percent="12", last_update="yesterday", net_bytes_sent=5)
    found = values(FleetCollector(lambda: fleet(odd, device("pi-1", cpu_percent=50.0))).collect())
    assert found["rpi_health_device_cpu_usage_ratio"] == {("pi-1",): 0.5}
    assert found["rpi_health_device_network_sent_bytes_total"] == {("odd",): 5}
    assert "rpi_health_device_cpu_temperature_celsius" not in found


def get(site: Site, path: str) -> tuple[str, str]:
    statuses: list[str] = []
    environ = {"PATH_INFO": path, "REQUEST_METHOD": "GET", "QUERY_STRING": ""}
    body = b"".join(site(environ, lambda status, _headers: statuses.append(status)))
    return statuses[0][:3], body.decode()


@pytest.mark.parametrize(
    ("health", "livez", "readyz"),
    [
        (Health(), "200", "200"),
        (Health(not_ready=("It is stopping.",)), "200", "503"),
        (Health(not_live=("It hangs.",)), "503", "503"),
    ],
)
def test_health_is_served_with_its_reasons(health: Health, livez: str, readyz: str) -> None:
    site = Site(lambda: health, [])
    assert (get(site, "/livez")[0], get(site, "/readyz")[0]) == (livez, readyz)
    assert all(reason in get(site, "/readyz")[1] for reason in health.reasons)


def test_other_paths_name_those_that_there_are() -> None:
    site = Site(Health, [])
    assert (get(site, "/")[0], get(site, "/health")[0]) == ("200", "404")
    assert all(path in get(site, "/health")[1] for path in ("/metrics", "/livez", "/readyz"))


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(watch, "time", SimpleNamespace(monotonic=lambda: self.now))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_database_is_asked_only_when_an_answer_is_old(clock: Clock) -> None:
    asked: list[float] = []
    watching = Watch(lambda: asked.append(clock.now) or len(asked))
    assert [watching.last() for _ in range(5)] == [1] * 5
    clock.now += watch.FRESH_S
    assert watching.last() == 2
    assert len(asked) == 2


def test_database_that_cannot_be_used_is_not_asked_more_often(clock: Clock) -> None:
    asked: list[float] = []

    def look() -> None:
        asked.append(clock.now)
        raise errors.DatabaseUnavailable("away")

    watching = Watch(look)
    assert [watching.last() for _ in range(5)] == [None] * 5
    clock.now += watch.FRESH_S
    assert watching.last() is None
    assert asked == [1000, 1000 + watch.FRESH_S]


def test_old_answer_is_given_for_a_while_and_then_none(clock: Clock) -> None:
    answers: list[Any] = [1]

    def look() -> int:
        if not answers:
            raise errors.DatabaseUnavailable("away")
        return int(answers.pop())

    watching = Watch(look)
    assert watching.last() == 1
    clock.now += watch.FRESH_S
    assert watching.last() == 1
    clock.now += watch.STALE_S
    assert watching.last() is None


def test_database_that_hangs_is_waited_for_briefly_and_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_PATIENCE_S", 0.01)
    hangs, asked = threading.Event(), []

    def look() -> str:
        asked.append(1)
        hangs.wait(30)
        return "at last"

    watching = Watch(look)
    began_at = time.monotonic()
    assert [watching.last() for _ in range(20)] == [None] * 20
    assert time.monotonic() - began_at < 5
    assert len(asked) == 1
    hangs.set()
    assert watching._looking is not None
    watching._looking.join(10)
    assert watching.last() == "at last"
