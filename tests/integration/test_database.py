"""What engines and sessions promise: nothing at import, durable commits, and waiting rather than failing at once."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from rpi_health import config, errors, migrations
from rpi_health.database import DeviceHistory, DeviceStatus, SessionLocal, create_engine, parse_url
from tests.amqp import Amqp
from tests.command import Cli
from tests.consuming import Consuming
from tests.reports import count_rows
from tests.schema import scalars
from tests.traffic import FIRST_SECOND
from tests.waiting import wait_until
from tools.servers import MariaDB

PASSWORD = "s3cr%40t"


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


# ── URLs ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("given", "driver"),
    [
        ("postgresql://host/fleet", "postgresql+psycopg"),
        ("mysql://host/fleet", "mysql+pymysql"),
        ("mariadb://host/fleet", "mysql+pymysql"),
        ("mariadb+pymysql://host/fleet", "mariadb+pymysql"),
        ("sqlite:///fleet.db", "sqlite"),
    ],
)
def test_url_gets_a_driver_unless_it_names_one(given: str, driver: str) -> None:
    assert parse_url(given).drivername == driver


def test_option_of_the_url_is_stronger_than_the_default() -> None:
    assert parse_url("mysql://host/fleet").query["charset"] == "utf8mb4"
    assert parse_url("mysql://host/fleet?charset=latin1&connect_timeout=60").query == {
        "charset": "latin1",
        "connect_timeout": "60",
    }
    assert parse_url("postgresql://host/fleet?keepalives=0").query["keepalives"] == "0"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "fleet.db",
        f"postgresql://pi:{PASSWORD}@host:port/fleet",
        f"oracle://pi:{PASSWORD}@host/fleet",
        f"postgres://pi:{PASSWORD}@host/fleet",
        f"postgresql+nonsense://pi:{PASSWORD}@host/fleet",
        f"postgresql+psycopg2://pi:{PASSWORD}@host/fleet",
        f"mysql://pi:{PASSWORD}@host/fleet?connect_timeout=soon",
    ],
)
def test_url_that_cannot_be_read_names_its_setting_and_no_password(url: str) -> None:
    with pytest.raises(errors.ConfigurationError, match="RPI_HEALTH_DATABASE_URL is") as caught:
        create_engine(url)
    told = str(caught.value)
    assert "s3cr" not in told
    assert "\n" not in told
    # What it came from may quote the URL, and must not be in a traceback.
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///file::memory:?uri=true",
        "sqlite:///file:x?mode=memory&uri=true",
    ],
)
def test_sqlite_in_memory_is_refused(url: str) -> None:
    with pytest.raises(errors.ConfigurationError, match="give a file, as sqlite:///FILE"):
        create_engine(url)


@pytest.mark.parametrize(
    ("url", "module", "command"),
    [
        ("postgresql://pi@host/fleet", "psycopg", r"pip install 'rpi-health\[postgresql\]'"),
        ("mysql://pi@host/fleet", "pymysql", r"pip install 'rpi-health\[mysql\]'"),
        ("mysql+mysqldb://pi@host/fleet", "MySQLdb", r"install the driver that mysql\+mysqldb:// names"),
    ],
)
def test_missing_driver_names_what_to_install(
    url: str, module: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(errors.DatabaseMisconfigured, match=command):
        create_engine(url)


# ── Engines ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_engine_reads_and_writes(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE numbers (n INTEGER)"))
        connection.execute(sa.text("INSERT INTO numbers VALUES (42)"))
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT n FROM numbers")) == 42


def test_rollback_takes_back_what_was_written(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE numbers (n INTEGER)"))
    with engine.connect() as connection:
        connection.execute(sa.text("INSERT INTO numbers VALUES (1)"))
        with connection.begin_nested() as savepoint:
            connection.execute(sa.text("INSERT INTO numbers VALUES (2)"))
            savepoint.rollback()
        assert connection.scalar(sa.text("SELECT count(*) FROM numbers")) == 1
        connection.rollback()
        assert connection.scalar(sa.text("SELECT count(*) FROM numbers")) == 0


def test_engine_makes_no_file_and_no_folder(tmp_path: Path) -> None:
    create_engine(f"sqlite:///{tmp_path / 'data' / 'fleet.db'}", writer=True)
    assert list(tmp_path.iterdir()) == []


def test_sqlite_connections_are_durable_and_patient(sqlite_url: str) -> None:
    settings = {"journal_mode": "wal", "synchronous": 2, "busy_timeout": 5000}
    assert {name: scalars(sqlite_url, f"PRAGMA {name}")[0] for name in settings} == settings


def test_transactions_of_servers_see_what_others_commit(postgresql_url: str, mariadb_url: str) -> None:
    assert scalars(postgresql_url, "SHOW transaction_isolation") == ["read committed"]
    assert scalars(mariadb_url, "SELECT @@SESSION.tx_isolation") == ["READ-COMMITTED"]


def test_mysql_speaks_utc_and_all_of_unicode(mariadb_url: str) -> None:
    assert scalars(mariadb_url, "SELECT @@SESSION.time_zone") == ["+00:00"]
    assert scalars(mariadb_url, "SELECT '🍓'") == ["🍓"]


@pytest.mark.parametrize(
    ("digits", "instant"),
    [
        (0, datetime(2026, 1, 1, 12)),
        (1, datetime(2026, 1, 1, 12, 0, 0, 100_000)),
        (3, datetime(2026, 1, 1, 12, 0, 0, 123_000)),
        (6, datetime(2026, 1, 1, 12, 0, 0, 123_456)),
    ],
)
def test_mysql_gives_instants_of_any_precision(mariadb_url: str, digits: int, instant: datetime) -> None:
    query = f"SELECT CAST('2026-01-01 12:00:00.123456' AS DATETIME({digits}))"
    assert scalars(mariadb_url, query) == [instant]


def test_mysql_gives_as_text_what_is_no_instant(mariadb_url: str) -> None:
    query = "SELECT CAST('0000-00-00 00:00:00' AS DATETIME)"
    assert scalars(mariadb_url, query) == ["0000-00-00 00:00:00"]


def test_mysql_raises_where_it_would_cut(mariadb_url: str) -> None:
    with pytest.raises(sa.exc.DataError):
        scalars_of_cut_value(mariadb_url)


def scalars_of_cut_value(url: str) -> None:
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            # MyISAM: STRICT_TRANS_TABLES alone would let it pass there from the second row on.
            connection.execute(sa.text("CREATE TABLE short (t VARCHAR(3)) ENGINE=MyISAM"))
            connection.execute(sa.text("INSERT INTO short VALUES ('abc'), ('abcd')"))
    finally:
        engine.dispose()


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_vanished_server_is_noticed(request: pytest.FixtureRequest, kind: str) -> None:
    engine = create_engine(request.getfixturevalue(f"{kind}_url"))
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        if kind == "postgresql":
            options = driver.info.get_parameters()
            assert (options["keepalives_idle"], options["tcp_user_timeout"]) == ("30", "60000")
        else:
            import socket

            options = {name: driver._sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in TCP}
            assert options == TCP
    engine.dispose()


TCP = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 60_000}


# ── SQLite's locks ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def writer(sqlite_url: str) -> Iterator[sa.Engine]:
    migrations.upgrade(sqlite_url)
    engine = create_engine(sqlite_url, writer=True)
    yield engine
    engine.dispose()


def add(connection: sa.Connection, device: str) -> None:
    connection.execute(sa.insert(DeviceStatus).values(raspberry_id=device))


def count(connection: sa.Connection) -> int:
    return int(connection.scalar(sa.select(sa.func.count()).select_from(DeviceStatus)) or 0)


def test_writers_that_read_first_wait_for_each_other(writer: sa.Engine) -> None:
    def read_then_write(number: int) -> None:
        with writer.begin() as connection:
            seen = count(connection)
            add(connection, f"pi-{seen}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read_then_write, range(40)))
    with writer.connect() as connection:
        assert count(connection) == 40


def test_reader_sees_one_state_while_a_writer_commits(writer: sa.Engine, sqlite_url: str) -> None:
    reader = create_engine(sqlite_url)
    with reader.connect() as reading:
        assert count(reading) == 0
        with writer.begin() as connection:
            add(connection, "pi")
        assert count(reading) == 0
        reading.rollback()
        assert count(reading) == 1
    reader.dispose()


def test_connection_that_met_a_lock_goes_on_in_a_transaction(writer: sa.Engine, sqlite_url: str) -> None:
    impatient = create_engine(f"{sqlite_url}?timeout=0.1", writer=True)
    with impatient.connect() as connection:
        with writer.begin() as other:
            add(other, "pi-1")
            with pytest.raises(sa.exc.OperationalError, match="locked"):
                add(connection, "pi-2")
        add(connection, "pi-2")
        connection.rollback()
        assert count(connection) == 1
    impatient.dispose()


def test_file_of_another_program_is_opened_when_its_writer_has_finished(tmp_path: Path) -> None:
    file = tmp_path / "fleet.db"
    # It has the journal mode that SQLite starts with: changing that while somebody writes fails at once, not in time.
    with contextlib.closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other:
        other.execute("CREATE TABLE t (n INTEGER)").close()
        other.execute("BEGIN IMMEDIATE").close()
        finish = threading.Timer(0.2, other.rollback)
        finish.start()
        assert scalars(f"sqlite:///{file}", "PRAGMA journal_mode") == ["wal"]
        finish.join()


# ── SQLite's file ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def file(sqlite_url: str) -> Path:
    return Path(sqlite_url.removeprefix("sqlite:///"))


def remove(file: Path) -> None:
    for path in file.parent.glob(f"{file.name}*"):
        path.unlink()


def assert_next_transaction_raises(
    connection: sa.Connection, expected: type[errors.DatabaseError], message: str
) -> None:
    with pytest.raises(expected, match=message):
        connection.begin()


def test_file_that_was_deleted_takes_no_more_writes(writer: sa.Engine, file: Path) -> None:
    with writer.connect() as connection:
        with connection.begin():
            add(connection, "pi-1")
        remove(file)
        assert_next_transaction_raises(connection, errors.DatabaseMisconfigured, r"missing.*put it back.*init-db")
    assert list(file.parent.iterdir()) == []


def test_deleted_file_is_not_made_again_by_who_wants_it_to_exist(writer: sa.Engine, file: Path) -> None:
    engine = create_engine(writer.url, writer=True, must_exist=True)
    with engine.begin() as connection:
        add(connection, "pi-1")
    remove(file)
    for _ in range(2):
        with pytest.raises(errors.DatabaseMisconfigured, match=r"missing.*put it back.*init-db"), engine.begin():
            pass
    assert not file.exists()
    migrations.upgrade(str(engine.url))
    with engine.begin() as connection:
        add(connection, "pi-2")
        assert count(connection) == 1
    engine.dispose()


def test_file_that_is_reached_by_a_uri_is_watched_as_well(writer: sa.Engine, file: Path) -> None:
    engine = create_engine(f"sqlite:///file:{file}?uri=true&mode=rwc", writer=True, must_exist=True)
    with engine.connect() as connection:
        with connection.begin():
            add(connection, "pi-1")
        remove(file)
        assert_next_transaction_raises(connection, errors.DatabaseMisconfigured, "is missing")
    with pytest.raises(errors.DatabaseMisconfigured, match="is missing"):
        engine.connect()
    engine.dispose()


def test_file_that_was_replaced_is_opened_anew_and_neither_it_nor_the_old_one_is_damaged(
    writer: sa.Engine, file: Path, tmp_path: Path
) -> None:
    other, old = tmp_path / "other.db", tmp_path / "old.db"
    migrations.upgrade(f"sqlite:///{other}")
    with writer.connect() as connection:
        for number in range(300):
            with connection.begin():
                add(connection, f"pi-{number}")
        file.rename(old)
        other.rename(file)
        assert_next_transaction_raises(connection, errors.DatabaseUnavailable, "replaced")
    with writer.begin() as connection:
        assert count(connection) == 0
        add(connection, "pi")
    assert scalars(str(writer.url), "PRAGMA integrity_check") == ["ok"]
    # What was committed before is in the file that was moved away, not in the log that it left behind.
    assert scalars(f"sqlite:///{old}", "SELECT count(*) FROM device_status") == [300]
    assert scalars(f"sqlite:///{old}", "PRAGMA integrity_check") == ["ok"]


def test_file_that_was_moved_away_and_back_is_the_same(writer: sa.Engine, file: Path) -> None:
    with writer.connect() as connection:
        with connection.begin():
            add(connection, "pi-1")
        file.rename(file.with_suffix(".away"))
        file.with_suffix(".away").rename(file)
        with connection.begin():
            add(connection, "pi-2")
            assert count(connection) == 2


def test_consumer_whose_file_was_deleted_holds_the_messages_until_there_is_one(
    amqp: Amqp, sqlite_url: str, file: Path, cli: Cli
) -> None:
    env = {**amqp.env, "RPI_HEALTH_DATABASE_URL": sqlite_url, "RPI_HEALTH_DATABASE_RETRY_MAX_DELAY": "0.5s"}
    assert cli("init-db", env=env).returncode == 0
    amqp.publish([dated(0)])
    consumer = Consuming(cli, env)
    wait_until(lambda: count_rows(sqlite_url, DeviceHistory) == 1, 30, "the first report")
    remove(file)
    amqp.publish([dated(number) for number in range(1, 101)])
    assert "rpi-health init-db" in consumer.wait_for("database_held")["error"]
    assert (amqp.counts()[1], list(file.parent.glob("fleet.db*"))) == (100, [])
    assert cli("init-db", env=env).returncode == 0
    consumer.wait_for("database_back")
    wait_until(lambda: count_rows(sqlite_url, DeviceHistory) == 100, 30, "the reports that were held")
    assert consumer.stop()["dead_lettered"] == 0
    assert amqp.counts() == (0, 0)


def dated(number: int) -> dict[str, Any]:
    return {"id": f"pi-{number % 10}", "cpu_percent": number, "timestamp": FIRST_SECOND + number}


def test_consumer_of_a_mariadb_that_is_frozen_at_the_start_gives_up(
    amqp: Amqp, mariadb: MariaDB, mariadb_url: str, cli: Cli
) -> None:
    env = {**amqp.env, "RPI_HEALTH_DATABASE_URL": mariadb_url}
    assert cli("init-db", env=env).returncode == 0
    mariadb.freeze()
    try:
        done = cli("consume", env=env, timeout_s=20)
    finally:
        mariadb.thaw()
    assert done.returncode == 5, done.stderr


# ── SessionLocal ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def unbound(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`SessionLocal` as it is after import."""
    monkeypatch.setattr(SessionLocal, "kw", {**SessionLocal.kw, "bind": None})
    yield
    bind = SessionLocal.kw["bind"]
    if isinstance(bind, sa.Engine):
        bind.dispose()


def test_import_makes_no_engine_and_reads_no_configuration(tmp_path: Path) -> None:
    program = (
        "import sqlalchemy; sqlalchemy.create_engine = None\n"
        "from rpi_health.database import SessionLocal, DeviceStatus, Base\n"
        "import sys; assert SessionLocal.kw['bind'] is None; assert 'rpi_health.config' not in sys.modules"
    )
    environment = {"RPI_HEALTH_DATABASE_URL": "nonsense", "PYTHONPATH": ":".join(sys.path)}
    subprocess.run([sys.executable, "-c", program], env=environment, cwd=tmp_path, check=True)


def test_session_is_of_the_configured_database(
    migrated_url: str, unbound: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RPI_HEALTH_DATABASE_URL", migrated_url)
    now = datetime(2025, 7, 1, 12, 0, 0, 123456, tzinfo=timezone.utc)
    with SessionLocal.begin() as session:
        session.add(DeviceStatus(raspberry_id="pi", last_update=now, net_ifaces=[{"name": "wlan0"}]))
    with SessionLocal() as session:
        device = session.scalars(sa.select(DeviceStatus)).one()
        assert (device.last_update, device.net_ifaces) == (now, [{"name": "wlan0"}])
        assert device.led_internal_status is False
        assert session.autoflush is False


def test_sessions_of_many_threads_share_one_engine(
    sqlite_url: str, unbound: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = []
    at_once = threading.Barrier(8)

    class Config:
        database_url = sqlite_url

    def load() -> Config:
        loads.append(1)
        time.sleep(0.1)  # long enough for all to have looked
        return Config()

    def bind(_number: int) -> object:
        at_once.wait()
        with SessionLocal() as session:
            return session.get_bind()

    monkeypatch.setattr(config, "load", load)
    with ThreadPoolExecutor(8) as pool:
        engines = set(pool.map(bind, range(8)))
    assert (len(engines), len(loads)) == (1, 1)


def test_session_may_be_bound_to_another_engine(
    sqlite_url: str, unbound: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RPI_HEALTH_DATABASE_URL", "nonsense")
    engine = create_engine(sqlite_url)
    SessionLocal.configure(bind=engine)
    with SessionLocal() as session:
        assert session.get_bind() is engine
