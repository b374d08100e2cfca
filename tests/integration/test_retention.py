"""What deletes old reports deletes those and no others, on each database, also while consumers write."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest
import sqlalchemy as sa

from rpi_health.database import create_engine
from rpi_health.models import DeviceHistory, DeviceStatus, MessageReceipt
from rpi_health.payload import decode
from rpi_health.report import Envelope, Report
from rpi_health.store import Retention, Store, retention
from tests.command import Cli

NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
CHUNK = 10


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


def report(device: str, at: datetime, number: int = 0) -> Report:
    body = json.dumps({"id": device, "timestamp": at.isoformat(), "number": number}).encode()
    return decode(body, Envelope(at, body))


def undated(device: str, received_at: datetime) -> Report:
    """A report that leaves a receipt."""
    return decode(json.dumps({"id": device}).encode(), Envelope(received_at, b"", message_id=str(received_at)))


def write(engine: sa.Engine, *reports: Report) -> None:
    store = Store(engine)
    assert store.write(reports) == []
    store.close()


def stored(engine: sa.Engine, table: type = DeviceHistory) -> list[tuple[str, datetime]]:
    at = {DeviceHistory: "reported_at", MessageReceipt: "received_at", DeviceStatus: "last_update"}[table]
    columns = table.__table__.c  # type: ignore[attr-defined]
    with engine.connect() as connection:
        query = sa.select(columns.raspberry_id, columns[at]).order_by(columns.raspberry_id, columns[at])
        return [(device, instant) for device, instant in connection.execute(query)]


@pytest.mark.parametrize("count", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_older_reports_go_and_all_others_stay(engine: sa.Engine, count: int) -> None:
    old = [report("pi", days(30) - timedelta(seconds=number)) for number in range(1, count + 1)]
    kept = [report("pi", days(30)), report("pi", days(1)), report("other", days(60))]
    write(engine, *old, *kept)
    store = Retention(engine)
    assert store.count_reports("pi", days(30)) == count
    deleted = list(store.prune("pi", days(30)))
    assert sum(deleted) == count
    assert len(deleted) == count // CHUNK + 1
    assert stored(engine) == [("other", days(60)), ("pi", days(30)), ("pi", days(1))]
    assert stored(engine, DeviceStatus) == [("other", days(60)), ("pi", days(1))]


def test_reports_of_one_time_go_together_however_many(engine: sa.Engine) -> None:
    write(engine, *[report("pi", days(60), number) for number in range(3 * CHUNK)], report("pi", days(1)))
    assert sum(Retention(engine).prune("pi", days(30))) == 3 * CHUNK
    assert stored(engine) == [("pi", days(1))]


def test_receipts_go_with_their_age(engine: sa.Engine) -> None:
    write(engine, undated("pi", days(40)), undated("pi", days(2)), undated("other", days(40)))
    assert sum(Retention(engine).prune("pi", days(30))) == 1
    assert stored(engine, MessageReceipt) == [("other", days(40)), ("pi", days(2))]


def test_all_devices_are_found_in_order(engine: sa.Engine) -> None:
    ids = ["a", "b", "c%_", "ä", "[x]", "pi-1", "pi-10"]
    write(engine, *[report(device, days(1)) for device in ids])
    found = list(Retention(engine).devices())
    assert sorted(found) == sorted(ids)
    assert len(found) == len(ids)


def test_device_that_is_forgotten_is_gone_and_may_come_again(engine: sa.Engine) -> None:
    write(engine, *[report("pi", days(number)) for number in range(2 * CHUNK + 1)], report("other", days(1)))
    write(engine, undated("pi", days(1)), undated("other", days(1)))
    assert sum(Retention(engine).forget("pi")) == 2 * CHUNK + 2
    for table in (DeviceHistory, DeviceStatus, MessageReceipt):
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
    store = Retention(engine)
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
