"""Faults that MariaDB has a number for, caused by an administrator or by a neighbour: all of them pass."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from rpi_health.database import create_engine
from tests.history_lock import history_locked
from tests.proxy import Mode, Proxy
from tests.traffic import Traffic
from tests.trial import Trial
from tests.waiting import wait_until
from tools.servers import MariaDB

MESSAGES = 100


@pytest.fixture
def trial(mariadb: MariaDB, mariadb_trial: Trial) -> Trial:
    """A trial whose consumer is an ordinary user, of the database's name: `root` is above most limits."""
    user = mariadb_trial.database
    mariadb.sql(f"CREATE USER {user}@'127.0.0.1'; GRANT ALL ON {user}.* TO {user}@'127.0.0.1'")
    mariadb_trial.env["RPI_HEALTH_DATABASE_URL"] = mariadb_trial.url.replace("root@", f"{user}@")
    return mariadb_trial


@pytest.fixture
def settings(mariadb: MariaDB) -> Iterator[None]:
    """The settings of the whole server are as they were, in the end."""
    names = ("read_only", "max_connections", "innodb_lock_wait_timeout")
    before = [mariadb.sql(f"SELECT @@GLOBAL.{name}").strip() for name in names]
    yield
    for name, value in zip(names, before):
        mariadb.sql(f"SET GLOBAL {name} = {value}")


def signal(errno: int, text: str) -> str:
    return (
        "CREATE TRIGGER fill BEFORE INSERT ON device_history FOR EACH ROW"
        f" SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {errno}, MESSAGE_TEXT = '{text}'"
    )


#: What is done, what undoes it, and what MariaDB says meanwhile.
TROUBLES = {
    "disk full": (signal(1021, "Disk full"), "DROP TRIGGER fill", "[1021]"),
    "tablespace full": (signal(1114, "The table is full"), "DROP TRIGGER fill", "[1114]"),
    "read-only after a failover": ("SET GLOBAL read_only = 1", "SET GLOBAL read_only = 0", "[1290]"),
    "user locked out": (
        "ALTER USER {0}@'127.0.0.1' ACCOUNT LOCK",
        "ALTER USER {0}@'127.0.0.1' ACCOUNT UNLOCK",
        "[4151]",
    ),
}


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("trouble", TROUBLES)
def test_trouble_that_passes_holds_the_messages(mariadb: MariaDB, trial: Trial, trouble: str) -> None:
    do, undo, says = TROUBLES[trouble]
    consumer = trial.start()
    mariadb.sql(do.format(trial.database), trial.database)
    # Many limits are for new sessions only.
    mariadb.end_sessions(trial.database)
    trial.publish(MESSAGES)
    consumer.wait_until_held(says)
    mariadb.sql(undo.format(trial.database), trial.database)
    trial.finish_held(consumer)


@pytest.mark.usefixtures("settings")
def test_server_without_a_free_connection_holds_the_messages(mariadb: MariaDB, trial: Trial) -> None:
    fewest = 10  # that MariaDB takes; the administrator has one more
    consumer = trial.start()
    engine = create_engine(trial.url)
    with contextlib.ExitStack() as held:
        mariadb.sql(f"SET GLOBAL max_connections = {fewest}")
        mariadb.end_sessions(trial.database)
        for _ in range(fewest):
            held.enter_context(engine.connect())
        trial.publish(MESSAGES)
        consumer.wait_until_held("[1040]")
    engine.dispose()
    trial.finish_held(consumer)


def test_limit_on_a_statement_holds_the_messages_until_the_lock_is_free(mariadb: MariaDB, trial: Trial) -> None:
    mariadb.sql(f"ALTER USER {trial.database}@'127.0.0.1' WITH MAX_STATEMENT_TIME 0.2")
    consumer = trial.start()
    with history_locked(trial.url):
        trial.publish(MESSAGES)
        consumer.wait_until_held("max_statement_time exceeded")
    trial.finish_held(consumer)


@pytest.mark.usefixtures("settings")
def test_limit_on_waiting_for_a_row_holds_the_messages_until_it_is_free(mariadb: MariaDB, trial: Trial) -> None:
    mariadb.sql("SET GLOBAL innodb_lock_wait_timeout = 1")
    consumer = trial.start()
    engine = create_engine(trial.url)
    with engine.begin() as other:
        other.exec_driver_sql("SELECT * FROM device_status FOR UPDATE")
        trial.publish(MESSAGES)
        consumer.wait_until_held("[1205]")
    engine.dispose()
    trial.finish_held(consumer)


def test_deadlock_victim_tries_again(mariadb: MariaDB, trial: Trial) -> None:
    trial.traffic = Traffic(devices=2)
    consumer = trial.start()
    trial.publish(1)
    trial.wait_stored()
    mariadb.sql("CREATE TABLE much AS SELECT seq FROM seq_1_to_10000", trial.database)
    engine = create_engine(trial.url)
    with engine.begin() as other:
        other.exec_driver_sql("UPDATE much SET seq = seq + 1")  # the victim is who has done less
        other.exec_driver_sql("SELECT * FROM device_status WHERE raspberry_id = 'pi-1' FOR UPDATE")
        trial.publish(MESSAGES)
        waiting = "SELECT trx_id FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
        wait_until(lambda: mariadb.sql(waiting), 10, "the consumer to wait for that row")
        other.exec_driver_sql("SELECT * FROM device_status WHERE raspberry_id = 'pi-0' FOR UPDATE")
        consumer.wait_until_held("Deadlock found")
    engine.dispose()
    trial.finish_held(consumer)


def test_limit_of_the_url_on_waiting_for_an_answer_ends_a_half_open_connection(
    mariadb: MariaDB, mariadb_trial: Trial
) -> None:
    with Proxy(mariadb.port) as proxy:
        consumer = mariadb_trial.start(database_url=mariadb_trial.url_by(proxy.port, read_timeout="1"))
        proxy.mode = Mode.BLACKHOLE
        mariadb_trial.publish(MESSAGES)
        consumer.wait_for("database_held")
        proxy.mode = Mode.PASS
        mariadb_trial.finish_held(consumer)
