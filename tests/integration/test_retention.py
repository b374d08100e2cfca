"""What deletes old reports deletes those and no others, on each database, also while consumers write."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest
import sqlalchemy as sa

from rpi_health import history
from rpi_health.database import create_engine
from rpi_health.metric import METRICS, Bucket
from rpi_health.models import DeviceHistory, DeviceHistoryHourly, DeviceStatus, MessageReceipt
from rpi_health.payload import decode
from rpi_health.report import Envelope, Report
from rpi_health.store import Retention, Store, Upkeep, retention
from tests.command import Cli

NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
CHUNK = 10
#: SQLite has no locks of rows, and locks the file: a transaction that is to write waits for it no longer than this.
IMPATIENT = {"sqlite": {"timeout": "0"}}


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "CHUNK_ROWS", CHUNK)
    monkeypatch.setattr(retention, "_IDS", 2)


@pytest.fixture
def engine(migrated_url: str) -> Iterator[sa.Engine]:
    engine = create_engine(migrated_url, writer=True)
    yield engine
    engine.dispose()


def days(count: float) -> datetime:
    """So many days before noon."""
    return NOON - timedelta(days=count)


def report(device: str, at: datetime, number: int = 0, **fields: object) -> Report:
    body = json.dumps({"id": device, "timestamp": at.isoformat(), "number": number, **fields}).encode()
    return decode(body, Envelope(at, body))


def undated(device: str, received_at: datetime) -> Report:
    """A report that leaves a receipt."""
    return decode(json.dumps({"id": device}).encode(), Envelope(received_at, b"", message_id=str(received_at)))


def write(engine: sa.Engine, *reports: Report) -> None:
    store = Store(engine)
    assert store.write(reports) == []
    store.close()


def stored(engine: sa.Engine, table: type = DeviceHistory) -> list[tuple[str, datetime]]:
    at = {
        DeviceHistory: "reported_at",
        DeviceHistoryHourly: "hour_start",
        MessageReceipt: "received_at",
        DeviceStatus: "last_update",
    }[table]
    columns = table.__table__.c  # type: ignore[attr-defined]
    with engine.connect() as connection:
        query = sa.select(columns.raspberry_id, columns[at]).order_by(columns.raspberry_id, columns[at])
        return [(device, instant) for device, instant in connection.execute(query)]


@pytest.mark.parametrize("count", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_older_reports_go_and_all_others_stay(engine: sa.Engine, count: int) -> None:
    old = [report("pi", days(30) - timedelta(seconds=number)) for number in range(1, count + 1)]
    kept = [report("pi", days(30)), report("pi", days(1)), report("other", days(60))]
    write(engine, *old, *kept)
    store = Retention(engine, NOON)
    assert store.count_reports("pi", days(30)) == count
    deleted = list(store.prune("pi", days(30)))
    assert sum(deleted) == count
    assert len(deleted) == count // CHUNK + 1
    assert stored(engine) == [("other", days(60)), ("pi", days(30)), ("pi", days(1))]
    assert stored(engine, DeviceStatus) == [("other", days(60)), ("pi", days(1))]


def test_reports_of_one_time_go_together_however_many(engine: sa.Engine) -> None:
    write(engine, *[report("pi", days(60), number) for number in range(3 * CHUNK)], report("pi", days(1)))
    assert sum(Retention(engine, NOON).prune("pi", days(30))) == 3 * CHUNK
    assert stored(engine) == [("pi", days(1))]


def test_receipts_go_with_their_age(engine: sa.Engine) -> None:
    write(engine, undated("pi", days(40)), undated("pi", days(2)), undated("other", days(40)))
    assert sum(Retention(engine, NOON).prune("pi", days(30))) == 1
    assert stored(engine, MessageReceipt) == [("other", days(40)), ("pi", days(2))]


def test_devices_with_something_old_are_found_in_order(engine: sa.Engine) -> None:
    ids = ["a", "b", "c%_", "ä", "[x]", "pi-1", "pi-10"]
    write(engine, *[report(device, days(31)) for device in ids], *[report(f"new-{n}", days(29)) for n in range(5)])
    write(engine, undated("receipt", days(31)), report("hours", days(500)))
    store = Retention(engine, NOON)
    for device in ("receipt", "hours"):
        assert sum(store.prune(device, days(30))) == 1
    write(engine, undated("receipt", days(31)))
    found = list(store.due(days(30)))
    assert sorted(found) == sorted([*ids, "receipt"])
    assert len(found) == len(ids) + 1
    assert list(Retention(engine, NOON + timedelta(days=1)).due(NOON - timedelta(days=60))) == []


# ── What is left of the reports ───────────────────────────────────────────────────────────────────────────────────────

FIELDS = {
    "cpu_temp": lambda dice: f"{dice.uniform(30, 90):.1f}°C",
    "cpu_percent": lambda dice: round(dice.uniform(0, 100), 2),
    "mem_usage": lambda dice: dice.choice([f"{dice.randrange(100, 900)} MB", f"{dice.randrange(100)}%"]),
    "net_bytes_sent": lambda dice: 2**52 + dice.randrange(2**20),
    "net_bytes_recv": lambda dice: dice.randrange(2**40),
    "gpio_used_count": lambda dice: dice.randrange(40),
    "usb_devices_count": lambda dice: dice.randrange(5),
}


def any_reports(dice: random.Random, count: int) -> list[Report]:
    """Reports of ten hours a month ago, each of which lacks some fields."""
    reports = []
    for number in range(count):
        fields = {name: make(dice) for name, make in FIELDS.items() if dice.random() < 0.7}
        at = days(30) - timedelta(seconds=round(dice.uniform(0, 36_000), 6))
        reports.append(report("pi", at, number, **fields))
    return reports


def buckets(engine: sa.Engine, every_s: int) -> list[Bucket]:
    return history.buckets(engine, "pi", days(40), NOON, METRICS, every_s)


def assert_alike(found: list[Bucket], expected: list[Bucket]) -> None:
    assert [(each.at, each.reports) for each in found] == [(each.at, each.reports) for each in expected]
    for one, other in zip(found, expected):
        assert [each and (each.least, each.most) for each in one.values] == [
            each and (each.least, each.most) for each in other.values
        ]
        means = [[each.mean for each in bucket.values if each is not None] for bucket in (one, other)]
        assert means[0] == pytest.approx(means[1], rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_figures_of_hours_stay_those_of_the_reports_however_they_are_deleted(engine: sa.Engine, seed: int) -> None:
    dice = random.Random(seed)
    reports = any_reports(dice, 120)
    late = [reports.pop() for _ in range(30)]
    write(engine, *reports, *late)
    expected = {every_s: buckets(engine, every_s) for every_s in (3600, 5400, 86_400)}
    assert sum(each.reports for each in expected[3600]) == 120
    assert sum(Retention(engine, NOON).forget("pi")) == 120
    write(engine, *reports)
    store = Retention(engine, NOON)
    deleted = 0
    for before in sorted(days(30) - timedelta(seconds=dice.uniform(0, 36_000)) for _ in range(4)):
        deleted += sum(store.prune("pi", before))
        assert history.buckets(engine, "pi", days(40), before - timedelta(hours=1), METRICS, 60) == []
    write(engine, *late)
    deleted += sum(store.prune("pi", days(29)))
    assert deleted == 120
    assert stored(engine) == []
    for every_s in (3600, 86_400):
        assert_alike(buckets(engine, every_s), expected[every_s])
    # An hour belongs to the span in which it begins.
    assert sum(each.reports for each in buckets(engine, 5400)) == 120


def test_hours_at_the_ends_are_whole_whether_deleted_or_not(engine: sa.Engine) -> None:
    write(engine, *[report("pi", days(30) + timedelta(minutes=10 * number)) for number in range(18)])
    since, until = days(30) + timedelta(minutes=30), days(30) + timedelta(minutes=150)
    for _ in range(2):
        found = history.buckets(engine, "pi", since, until, METRICS, 3600)
        assert [bucket.reports for bucket in found] == [6, 6, 6]
        deleted = sum(Retention(engine, NOON).prune("pi", days(10)))
    assert deleted == 0


def test_values_that_add_up_to_no_number_stop_nobody(migrated_url: str, engine: sa.Engine) -> None:
    huge = [report("pi-1", days(40) + timedelta(seconds=n), cpu_percent=1.7e308) for n in range(3)]
    write(engine, report("pi-0", days(40)), *huge, report("pi-2", days(40)))
    own = create_engine(migrated_url, writer=True)
    assert sum(Upkeep(own, bytes(8), timedelta(days=30), lambda _: NOON).round()) in (2, 5)
    own.dispose()
    assert {device for device, _ in stored(engine)} <= {"pi-1"}
    if engine.dialect.name == "sqlite":  # the others refuse to add them up
        (bucket,) = history.buckets(engine, "pi-1", days(50), NOON, [METRICS[1]], 86_400)
        assert bucket.values == ((1.7e308, 1.7e308, 1.7e308),)


def test_device_that_is_forgotten_while_it_is_pruned_leaves_nothing(engine: sa.Engine, migrated_url: str) -> None:
    write(engine, report("pi", days(40)))
    other = create_engine(migrated_url, writer=True)
    forgetting = threading.Thread(target=lambda: list(Retention(other, NOON).forget("pi")))

    def forget_meanwhile(_connection: object, _cursor: object, sql: str, *_rest: object) -> None:
        if sql.startswith("DELETE FROM device_history ") and not forgetting.is_alive() and not forgetting.ident:
            forgetting.start()
            forgetting.join(1)

    sa.event.listen(engine, "before_cursor_execute", forget_meanwhile)
    assert sum(Retention(engine, NOON).prune("pi", days(30))) == 1
    forgetting.join(20)
    other.dispose()
    for table in (DeviceHistory, DeviceHistoryHourly, DeviceStatus):
        assert stored(engine, table) == []


def test_hours_are_told_of_where_they_are_not_shown(engine: sa.Engine) -> None:
    write(engine, report("pi", days(30), cpu_percent=5.0), report("pi", days(1), cpu_percent=6.0))
    assert history.hourly_until(engine, "pi", days(40), NOON) is None
    assert sum(Retention(engine, NOON).prune("pi", days(10))) == 1
    assert history.hourly_until(engine, "pi", days(40), NOON) == days(30) + timedelta(hours=1)
    assert history.hourly_until(engine, "pi", days(30) + timedelta(seconds=1), NOON) is None
    assert history.hourly_until(engine, "other", days(40), NOON) is None
    assert [each.reports for each in buckets(engine, 3599)] == [1]
    assert [each.reports for each in buckets(engine, 3600)] == [1, 1]


def test_figures_are_kept_for_400_days(engine: sa.Engine) -> None:
    write(engine, *[report("pi", days(age)) for age in (401, 399, 31, 1)])
    assert sum(Retention(engine, NOON).prune("pi", days(30))) == 3
    assert stored(engine, DeviceHistoryHourly) == [("pi", days(399)), ("pi", days(31))]
    later = Retention(engine, NOON + timedelta(days=10))
    assert list(later.due(days(30))) == ["pi"]
    assert sum(later.prune("pi", days(30))) == 0
    assert stored(engine, DeviceHistoryHourly) == [("pi", days(31))]


def test_device_without_a_state_keeps_its_reports(engine: sa.Engine) -> None:
    write(engine, report("pi", days(60)))
    with engine.begin() as connection:
        connection.execute(sa.delete(DeviceStatus))
    assert sum(Retention(engine, NOON).prune("pi", days(30))) == 0
    assert stored(engine) == [("pi", days(60))]


def test_nobody_writes_a_report_of_the_device_between_summing_up_and_deleting(
    engine: sa.Engine, migrated_url: str
) -> None:
    write(engine, report("pi", days(40)))
    other = create_engine(
        sa.make_url(migrated_url).update_query_dict(IMPATIENT.get(engine.dialect.name, {})), writer=True
    )
    row = sa.select(DeviceStatus.id).where(DeviceStatus.raspberry_id == "pi").with_for_update(nowait=True)
    kept_out: list[bool] = []

    def write_meanwhile(_connection: object, _cursor: object, sql: str, *_rest: object) -> None:
        if sql.startswith("DELETE FROM device_history "):
            with pytest.raises(sa.exc.OperationalError), other.begin() as connection:
                connection.execute(row)
            kept_out.append(True)

    sa.event.listen(engine, "before_cursor_execute", write_meanwhile)
    assert sum(Retention(engine, NOON).prune("pi", days(30))) == 1
    assert kept_out == [True]
    with other.begin() as connection:
        assert connection.execute(row).scalar()
    other.dispose()


def test_late_reports_that_come_meanwhile_are_counted_once(engine: sa.Engine, migrated_url: str) -> None:
    reports = [report("pi", days(40) + timedelta(minutes=n), cpu_percent=float(n)) for n in range(600)]
    write(engine, *reports[::2])
    failed: list[BaseException] = []

    def consume() -> None:
        own = create_engine(migrated_url, writer=True)
        store = Store(own)
        try:
            for first in range(1, 600, 10):
                assert store.write(reports[first : first + 10 : 2]) == []
        except BaseException as error:
            failed.append(error)
        finally:
            store.close()
            own.dispose()

    threads = [threading.Thread(target=consume)]
    deleted: list[int] = []

    def prune() -> None:
        own = create_engine(migrated_url, writer=True)
        try:
            while threads[0].is_alive():
                deleted.extend(Retention(own, NOON).prune("pi", days(30)))
        except BaseException as error:
            failed.append(error)
        finally:
            own.dispose()

    threads += [threading.Thread(target=prune) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    deleted += Retention(engine, NOON).prune("pi", days(30))
    assert failed == []
    assert sum(deleted) == 600
    (bucket,) = history.buckets(engine, "pi", days(50), NOON, [METRICS[1]], 100 * 86_400)
    assert bucket.reports == 600
    assert bucket.values[0] == (0.0, pytest.approx(299.5), 599.0)


def test_device_that_is_forgotten_is_gone_and_may_come_again(engine: sa.Engine) -> None:
    write(engine, *[report("pi", days(number)) for number in range(2 * CHUNK + 1)], report("other", days(1)))
    write(engine, undated("pi", days(1)), undated("other", days(1)), report("other", days(40)))
    for device in ("pi", "other"):
        assert sum(Retention(engine, NOON).prune(device, days(10))) > 0
    assert sum(Retention(engine, NOON).forget("pi")) == CHUNK + 2
    for table in (DeviceHistory, DeviceHistoryHourly, DeviceStatus, MessageReceipt):
        assert {device for device, _ in stored(engine, table)} == {"other"}
    write(engine, report("pi", days(5)))
    assert ("pi", days(5)) in stored(engine, DeviceStatus)


def test_consumer_that_writes_meanwhile_loses_nothing(engine: sa.Engine, migrated_url: str) -> None:
    devices = [f"pi-{number}" for number in range(20)]
    old = [report(device, days(40) - timedelta(seconds=n)) for device in devices for n in range(5 * CHUNK)]
    write(engine, *old)
    recent = [report(device, days(1) + timedelta(seconds=n)) for n in range(60) for device in devices]
    failed: list[BaseException] = []

    def consume() -> None:
        own = create_engine(migrated_url, writer=True)
        store = Store(own)
        try:
            for first in range(0, len(recent), 40):
                assert store.write(recent[first : first + 40]) == []
        except BaseException as error:
            failed.append(error)
        finally:
            store.close()
            own.dispose()

    thread = threading.Thread(target=consume)
    thread.start()
    store = Retention(engine, NOON)
    deleted = sum(sum(store.prune(device, days(30))) for device in devices)
    thread.join(60)
    assert failed == []
    assert deleted == len(old)
    assert stored(engine) == sorted((each.raspberry_id, each.reported_at) for each in recent)


# ── The commands ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def fleet(cli: Cli, sqlite_url: str) -> dict[str, str]:
    """A database with two old reports and two recent ones; the environment that leads there."""
    env = {"RPI_HEALTH_DATABASE_URL": sqlite_url}
    assert cli("init-db", env=env).returncode == 0
    now = datetime.now(timezone.utc)
    engine = create_engine(sqlite_url, writer=True)
    write(engine, *[report(device, now - timedelta(days=age)) for device in ("pi-01", "pi-02") for age in (1, 40)])
    engine.dispose()
    return env


def test_prune_tells_what_it_would_delete_and_then_deletes_it(cli: Cli, fleet: dict[str, str]) -> None:
    dry = cli("prune", "--older-than", "30d", "--dry-run", env=fleet)
    assert (dry.returncode, dry.stderr) == (0, "")
    assert dry.stdout.startswith("Would delete 2 reports of 2 devices from before ")
    assert cli("prune", "--older-than", "30d", env=fleet).stdout.startswith("Deleted 2 reports of 2 devices")
    assert cli("prune", "--older-than", "30d", env=fleet).stdout.startswith("Deleted 0 reports of 0 devices")
    assert len(json.loads(cli("status", "--json", env=fleet).stdout)) == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "Missing option '--older-than'"),
        (("--older-than", "30"), "'30' has no unit: give a duration such as 30d or 12h"),
        (("--older-than", "soon"), "'soon': give how long ago"),
    ],
)
def test_prune_without_a_clear_age_deletes_nothing(
    cli: Cli, fleet: dict[str, str], arguments: tuple[str, ...], says: str
) -> None:
    done = cli("prune", *arguments, env=fleet)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert cli("prune", "--older-than", "30d", "--dry-run", env=fleet).stdout.startswith("Would delete 2 reports")


def test_forget_asks_first(cli: Cli, fleet: dict[str, str]) -> None:
    done = cli("forget", "pi-01", env=fleet, stdin="n\n")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Delete pi-01 and all that it has reported? [y/N]" in done.stderr
    assert cli("forget", "pi-01", env=fleet).returncode == 1  # nobody there to answer
    assert len(json.loads(cli("status", "--json", env=fleet).stdout)) == 2
    assert cli("forget", "pi-01", env=fleet, stdin="y\n").stdout == "Deleted pi-01 and 2 reports.\n"
    assert [device["raspberry_id"] for device in json.loads(cli("status", "--json", env=fleet).stdout)] == ["pi-02"]


def test_forget_of_an_unknown_device_deletes_nothing(cli: Cli, fleet: dict[str, str]) -> None:
    done = cli("forget", "pi-03", "--yes", env=fleet)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: No device pi-03 has reported. Did you mean pi-0")
    assert len(json.loads(cli("status", "--json", env=fleet).stdout)) == 2
