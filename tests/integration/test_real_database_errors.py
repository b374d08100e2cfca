"""How the errors of real databases are classified: each is provoked, none is made up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from rpi_health.database import CONNECT_TIMEOUT_S, create_engine
from rpi_health.database_errors import translate
from rpi_health.errors import DatabaseError, DatabaseMisconfigured, DatabaseUnavailable, DataRefused
from tools.servers import MariaDB, PostgreSQL
from tools.servers.process import free_ports

TABLE = "CREATE TABLE device (id INTEGER PRIMARY KEY, name VARCHAR(5) NOT NULL, state JSON)"


def execute(engine: sa.Engine, *statements: str, **parameters: Any) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(sa.text(statement), parameters)


@contextmanager
def opened(url: str, *, writer: bool = True) -> Iterator[sa.Engine]:
    engine = create_engine(url, writer=writer)
    try:
        yield engine
    finally:
        engine.dispose()


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    with opened(database_url) as engine:
        execute(engine, TABLE)
        yield engine


@pytest.fixture
def postgres(postgresql_url: str) -> Iterator[sa.Engine]:
    with opened(postgresql_url) as engine:
        execute(engine, TABLE, "INSERT INTO device VALUES (1, 'one'), (2, 'two')")
        yield engine


@pytest.fixture
def maria(mariadb_url: str) -> Iterator[sa.Engine]:
    with opened(mariadb_url) as engine:
        execute(engine, TABLE, "INSERT INTO device (id, name) VALUES (1, 'one'), (2, 'two')")
        yield engine


@pytest.fixture
def sqlite(sqlite_url: str) -> Iterator[sa.Engine]:
    with opened(sqlite_url) as engine:
        execute(engine, TABLE)
        yield engine


def fails(engine: sa.Engine, expected: type[DatabaseError], provoke: Callable[[], object], cure: str = "") -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011 (which one is the very question)
        provoke()
    error = translate(caught.value, engine.url)
    assert type(error) is expected, repr(caught.value)
    assert cure in str(error)
    assert str(error).isprintable()


def url_of(engine: sa.Engine, **changes: Any) -> str:
    return engine.url.set(**changes).render_as_string(hide_password=False)


def connect_to(url: str) -> None:
    with opened(url) as engine:
        execute(engine, "SELECT 1")


# ── The same on all ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM no_such_table",
        "INSERT INTO no_such_table VALUES (1)",
        "SELECT no_such_column FROM device",
        "INSERT INTO device (id, name, no_such_column) VALUES (1, 'one', 2)",
    ],
)
def test_missing_table_or_column_is_a_matter_of_the_schema(engine: sa.Engine, statement: str) -> None:
    fails(engine, DatabaseMisconfigured, lambda: execute(engine, statement), cure="run `rpi-health init-db`")


def test_broken_constraint_is_refused_data(engine: sa.Engine) -> None:
    fails(engine, DataRefused, lambda: execute(engine, "INSERT INTO device (id, name) VALUES (1, 'one'), (1, 'two')"))


def test_column_that_somebody_added_as_not_null_dead_letters_no_report(engine: sa.Engine) -> None:
    insert = "INSERT INTO device (id, name) VALUES (1, NULL)"
    fails(engine, DatabaseMisconfigured, lambda: execute(engine, insert), cure="let it be NULL")


@pytest.mark.parametrize("text", ["\ud800", "ab\udfff"])
def test_half_a_surrogate_pair_is_refused_data(engine: sa.Engine, text: str) -> None:
    insert = "INSERT INTO device (id, name) VALUES (1, :text)"
    fails(engine, DataRefused, lambda: execute(engine, insert, text=text))


REFUSE = {
    "sqlite": "CREATE TRIGGER picky BEFORE INSERT ON device BEGIN SELECT RAISE(ABORT, 'not this one'); END",
    "mysql": "CREATE TRIGGER picky BEFORE INSERT ON device FOR EACH ROW"
    " SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not this one'",
    "postgresql": """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'not this one'; END $$;
        CREATE TRIGGER picky BEFORE INSERT ON device FOR EACH ROW EXECUTE FUNCTION refuse()
    """,
}


def test_trigger_that_raises_refuses_the_data(engine: sa.Engine) -> None:
    execute(engine, REFUSE[engine.dialect.name])
    fails(engine, DataRefused, lambda: execute(engine, "INSERT INTO device (id, name) VALUES (1, 'one')"))


def test_integer_out_of_range_is_refused_data(engine: sa.Engine) -> None:
    insert = "INSERT INTO device (id, name) VALUES (:number, 'one')"
    fails(engine, DataRefused, lambda: execute(engine, insert, number=2**63))


@pytest.mark.parametrize("kind", ["postgres", "maria"])
def test_text_too_long_is_refused_data(request: pytest.FixtureRequest, kind: str) -> None:
    engine = request.getfixturevalue(kind)
    fails(engine, DataRefused, lambda: execute(engine, "INSERT INTO device (id, name) VALUES (3, 'toolong')"))


@pytest.mark.parametrize("json", ["{", '{"a": NaN}', ""])
@pytest.mark.parametrize("kind", ["postgres", "maria"])
def test_text_that_is_no_json_is_refused_data(request: pytest.FixtureRequest, kind: str, json: str) -> None:
    engine = request.getfixturevalue(kind)
    insert = "INSERT INTO device (id, name, state) VALUES (3, 'three', :json)"
    fails(engine, DataRefused, lambda: execute(engine, insert, json=json))


@pytest.mark.parametrize("kind", ["postgres", "maria"])
def test_unknown_database_is_a_matter_of_configuration(request: pytest.FixtureRequest, kind: str) -> None:
    engine = request.getfixturevalue(kind)
    url = url_of(engine, database="no_such_database")
    fails(engine, DatabaseMisconfigured, lambda: connect_to(url), cure="RPI_HEALTH_DATABASE_URL")


@pytest.mark.parametrize("kind", ["postgres", "maria"])
def test_server_that_is_not_there_may_come(request: pytest.FixtureRequest, kind: str) -> None:
    engine = request.getfixturevalue(kind)
    (port,) = free_ports(1)
    fails(engine, DatabaseUnavailable, lambda: connect_to(url_of(engine, port=port)))
    fails(engine, DatabaseUnavailable, lambda: connect_to(url_of(engine, host="no-such-host.invalid")))


@pytest.mark.parametrize("kind", ["postgres", "maria"])
def test_unknown_option_is_a_matter_of_configuration(request: pytest.FixtureRequest, kind: str) -> None:
    engine = request.getfixturevalue(kind)
    url = engine.url.update_query_dict({"no_such_option": "1"}).render_as_string(hide_password=False)
    fails(engine, DatabaseMisconfigured, lambda: connect_to(url), cure="what follows the ?")


@pytest.mark.parametrize(("kind", "kill"), [("postgres", "pg_terminate_backend({})"), ("maria", "KILL {}")])
def test_killed_session_may_be_opened_again(request: pytest.FixtureRequest, kind: str, kill: str) -> None:
    engine = request.getfixturevalue(kind)
    with engine.connect() as connection:
        who = "pg_backend_pid()" if kind == "postgres" else "connection_id()"
        session = connection.scalar(sa.text(f"SELECT {who}"))
        execute(engine, ("SELECT " if kind == "postgres" else "") + kill.format(session))
        fails(engine, DatabaseUnavailable, lambda: connection.execute(sa.text("SELECT 1")))


@pytest.mark.parametrize("kind", ["postgres", "maria"])
def test_deadlock_victim_may_try_again(request: pytest.FixtureRequest, kind: str) -> None:
    engine = request.getfixturevalue(kind)
    both_hold_one = threading.Barrier(2)
    raised: list[Exception] = []

    def update(first: int, second: int) -> None:
        try:
            with engine.begin() as connection:
                connection.execute(sa.text(f"UPDATE device SET name = 'a' WHERE id = {first}"))
                both_hold_one.wait(20)
                connection.execute(sa.text(f"UPDATE device SET name = 'b' WHERE id = {second}"))
        except Exception as error:  # reported below
            raised.append(error)

    threads = [threading.Thread(target=update, args=order) for order in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [type(translate(error)) for error in raised] == [DatabaseUnavailable]


@pytest.mark.parametrize(
    ("kind", "impatience"),
    [("postgres", "SET lock_timeout = '50ms'"), ("maria", "SET SESSION innodb_lock_wait_timeout = 1")],
)
def test_lock_that_is_not_had_in_time_may_be_had_later(
    request: pytest.FixtureRequest, kind: str, impatience: str
) -> None:
    engine = request.getfixturevalue(kind)
    update = "UPDATE device SET name = 'x' WHERE id = 1"
    with engine.begin() as connection:
        connection.execute(sa.text(update))
        fails(engine, DatabaseUnavailable, lambda: execute(engine, impatience, update))


# ── PostgreSQL ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_postgresql_refuses_nul(postgres: sa.Engine) -> None:
    insert = "INSERT INTO device (id, name) VALUES (3, :text)"
    fails(postgres, DataRefused, lambda: execute(postgres, insert, text="a\0b"))
    escaped = "INSERT INTO device (id, name, state) VALUES (3, 'c', CAST(:json AS jsonb))"
    fails(postgres, DataRefused, lambda: execute(postgres, escaped, json='"\\u0000"'))


@pytest.fixture
def postgresql_role(postgresql: PostgreSQL) -> Iterator[str]:
    """A role that may log in with its password only, and do nothing."""
    rules = postgresql.folder / "data" / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"host all nobody 127.0.0.1/32 scram-sha-256\n{before}")
    postgresql.psql("CREATE ROLE nobody LOGIN PASSWORD 's3cret'; SELECT pg_reload_conf()")
    yield "nobody"
    rules.write_text(before)
    postgresql.psql("SELECT pg_reload_conf(); DROP ROLE nobody")


def test_postgresql_login_that_is_refused(postgres: sa.Engine, postgresql_role: str) -> None:
    for changes in ({"password": "wr0ng"}, {"username": "no_such_role"}, {}):
        url = url_of(postgres, **{"username": postgresql_role, **changes})
        fails(postgres, DatabaseMisconfigured, lambda url=url: connect_to(url), cure="check user, password")


def test_postgresql_permission_that_is_missing(postgres: sa.Engine, postgresql_role: str) -> None:
    url = url_of(postgres, username=postgresql_role, password="s3cret")
    with opened(url) as engine:
        for statement in ("SELECT * FROM device", "CREATE TABLE mine (id INTEGER)"):
            fails(engine, DatabaseMisconfigured, lambda sql=statement: execute(engine, sql), cure="grant this user")


def test_postgresql_that_only_reads_after_a_failover(postgres: sa.Engine) -> None:
    write = ("SET TRANSACTION READ ONLY", "DELETE FROM device")
    fails(postgres, DatabaseUnavailable, lambda: execute(postgres, *write))


def test_postgresql_statement_that_was_cancelled(postgres: sa.Engine) -> None:
    slow = ("SET LOCAL statement_timeout = '20ms'", "SELECT pg_sleep(5)")
    fails(postgres, DatabaseUnavailable, lambda: execute(postgres, *slow))


def test_postgresql_without_a_free_connection(postgres: sa.Engine) -> None:
    execute(postgres, f"ALTER DATABASE {postgres.url.database} CONNECTION LIMIT 0", "CREATE ROLE guest LOGIN")
    try:
        guest = url_of(postgres, username="guest")
        fails(postgres, DatabaseUnavailable, lambda: connect_to(guest))
    finally:
        execute(postgres, "DROP ROLE guest")


def test_postgresql_row_that_is_twice_in_an_upsert(postgres: sa.Engine) -> None:
    upsert = "INSERT INTO device VALUES (9, 'a'), (9, 'b') ON CONFLICT (id) DO UPDATE SET name = excluded.name"
    fails(postgres, DataRefused, lambda: execute(postgres, upsert))


# ── MariaDB ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def mariadb_user(mariadb: MariaDB) -> Iterator[str]:
    """A user who may log in with its password only, and do nothing."""
    mariadb.sql("CREATE USER nobody@'127.0.0.1' IDENTIFIED BY 's3cret'")
    yield "nobody"
    mariadb.sql("DROP USER nobody@'127.0.0.1'")


def test_mariadb_login_that_is_refused(maria: sa.Engine, mariadb_user: str) -> None:
    for changes in ({"password": "wr0ng"}, {"username": "no_such_user"}, {}, {"password": "s3cret"}):
        url = url_of(maria, **{"username": mariadb_user, **changes})  # the last one lacks the database
        fails(maria, DatabaseMisconfigured, lambda url=url: connect_to(url), cure="check user, password")


def test_mariadb_permission_that_is_missing(maria: sa.Engine, mariadb: MariaDB, mariadb_user: str) -> None:
    mariadb.sql(f"GRANT DELETE ON {maria.url.database}.* TO {mariadb_user}@'127.0.0.1'")
    with opened(url_of(maria, username=mariadb_user, password="s3cret")) as engine:
        statements = ("SELECT * FROM device", "CREATE TABLE mine (id INTEGER)", "SET GLOBAL max_connections = 5")
        for statement in statements:
            fails(engine, DatabaseMisconfigured, lambda sql=statement: execute(engine, sql), cure="grant this user")


def test_mariadb_that_only_reads_after_a_failover(maria: sa.Engine, mariadb: MariaDB, mariadb_user: str) -> None:
    mariadb.sql(f"GRANT ALL ON {maria.url.database}.* TO {mariadb_user}@'127.0.0.1'; SET GLOBAL read_only = 1")
    try:
        with opened(url_of(maria, username=mariadb_user, password="s3cret")) as engine:
            fails(engine, DatabaseUnavailable, lambda: execute(engine, "DELETE FROM device"))
    finally:
        mariadb.sql("SET GLOBAL read_only = 0")


def test_mariadb_statement_that_took_too_long(maria: sa.Engine) -> None:
    join = "SELECT count(*) FROM seq_1_to_100000 a, seq_1_to_100000 b WHERE a.seq * b.seq = -1"
    slow = ("SET SESSION max_statement_time = 0.02", join)
    fails(maria, DatabaseUnavailable, lambda: execute(maria, *slow))


@pytest.mark.parametrize("statement", ["UPDATE device SET id = 99999999999", "UPDATE device SET name = 1 / 'x'"])
def test_mariadb_value_that_does_not_convert(maria: sa.Engine, statement: str) -> None:
    fails(maria, DataRefused, lambda: execute(maria, statement))


def test_mariadb_that_is_frozen_while_we_connect_is_given_up(maria: sa.Engine, mariadb: MariaDB) -> None:
    mariadb.freeze()
    try:
        began = time.monotonic()
        fails(maria, DatabaseUnavailable, lambda: connect_to(url_of(maria)))
        assert time.monotonic() - began < 2 * CONNECT_TIMEOUT_S
    finally:
        mariadb.thaw()


def test_mariadb_that_takes_long_over_a_statement_is_waited_for(maria: sa.Engine) -> None:
    with opened(url_of(maria, query={"connect_timeout": "1"})) as engine:
        execute(engine, "SELECT sleep(2)")


def test_limit_of_the_url_on_a_statement_is_kept(maria: sa.Engine) -> None:
    with opened(url_of(maria, query={"read_timeout": "1"})) as engine:
        fails(engine, DatabaseUnavailable, lambda: execute(engine, "SELECT sleep(5)"))


# ── SQLite ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_sqlite_that_is_locked(sqlite: sa.Engine) -> None:
    impatient = sqlite.url.update_query_dict({"timeout": "0.05"}).render_as_string()
    with sqlite.begin(), opened(impatient) as engine:
        fails(engine, DatabaseUnavailable, lambda: execute(engine, "DELETE FROM device"))


def test_sqlite_that_is_full(sqlite: sa.Engine) -> None:
    with sqlite.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 3")
        insert = sa.text("INSERT INTO device (id, name, state) VALUES (1, 'one', :big)")
        fails(sqlite, DatabaseUnavailable, lambda: connection.execute(insert, {"big": "x" * 100_000}))


def test_sqlite_that_was_interrupted(sqlite: sa.Engine) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    with sqlite.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.set_progress_handler(lambda: 1, 1000)
        fails(sqlite, DatabaseUnavailable, lambda: connection.execute(sa.text(endless)))


def test_sqlite_file_that_may_only_be_read(sqlite: sa.Engine) -> None:
    # By the URL rather than by the file's mode, which does not bind root.
    read_only = f"sqlite:///file:{sqlite.url.database}?mode=ro&uri=true"
    with opened(read_only, writer=False) as engine:
        execute(engine, "SELECT * FROM device")
        fails(engine, DatabaseMisconfigured, lambda: execute(engine, "DELETE FROM device"), cure="who may write it")


def test_sqlite_file_that_cannot_be_opened(sqlite: sa.Engine, tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("Once upon a time there was a file that was no database at all.\n" * 100)
    for place in (tmp_path, tmp_path / "missing" / "fleet.db", tmp_path / "text.db"):
        fails(
            sqlite, DatabaseMisconfigured, lambda place=place: connect_to(f"sqlite:///{place}"), cure="check the file"
        )
