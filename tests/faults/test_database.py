"""Faults of the database: messages are held, retried and resumed; none is dead-lettered, and the broker stays."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from rpi_health.models import DeviceHistory
from tests.amqp import Amqp
from tests.command import Cli
from tests.consuming import Consuming
from tests.reports import count_rows
from tests.waiting import wait_until
from tools.servers import PostgreSQL


def dated(number: int) -> dict[str, Any]:
    return {"id": f"pi-{number % 50}", "cpu_percent": number, "timestamp": 1_790_000_000 + number}


def settings(amqp: Amqp, url: str, cli: Cli, **more: str) -> dict[str, str]:
    env = {**amqp.env, "RPI_HEALTH_DATABASE_URL": url, "RPI_HEALTH_DATABASE_RETRY_MAX_DELAY": "0.5s", **more}
    assert cli("init-db", env=env).returncode == 0
    return env


def database_name(url: str) -> str:
    return url.rsplit("/", 1)[1].split("?")[0]


def wait_stored(url: str, count: int) -> None:
    wait_until(lambda: count_rows(url, DeviceHistory) >= count, 30, f"{count} stored reports")


def assert_nothing_lost(amqp: Amqp, url: str, count: int, counts: dict[str, Any]) -> None:
    assert count_rows(url, DeviceHistory) == count
    assert counts["dead_lettered"] == 0
    assert amqp.counts() == (0, 0)


def test_database_that_is_down_for_long_parks_the_session_and_keeps_the_connection(
    amqp: Amqp, postgresql: PostgreSQL, postgresql_url: str, cli: Cli
) -> None:
    env = settings(amqp, postgresql_url, cli, RPI_HEALTH_PARK_AFTER="2s")
    amqp.publish([dated(1)])
    consumer = Consuming(cli, env)
    wait_stored(postgresql_url, 1)
    postgresql.stop()
    amqp.publish([dated(n) for n in range(2, 3001)])
    consumer.wait_for("database_held")
    consumer.wait_for("parked")
    wait_until(lambda: amqp.counts() == (2999, 0), 15, "the messages to go back to the queue")
    connections = amqp.server.ctl("list_connections", "pid")
    postgresql.start()
    wait_stored(postgresql_url, 3000)
    assert amqp.server.ctl("list_connections", "pid") == connections
    counts = consumer.stop()
    assert (counts["parked"], counts["sessions"]) == (1, 2)
    assert_nothing_lost(amqp, postgresql_url, 3000, counts)


def test_killed_backend_is_replaced(amqp: Amqp, postgresql: PostgreSQL, postgresql_url: str, cli: Cli) -> None:
    amqp.publish([dated(n) for n in range(5_000)])
    consumer = Consuming(cli, settings(amqp, postgresql_url, cli, RPI_HEALTH_BATCH_SIZE="20"))
    wait_stored(postgresql_url, 20)
    name = database_name(postgresql_url)
    kill = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND application_name = ''"
    # Until it was noticed: a backend that is killed between two batches is replaced without a word.
    while not consumer.events("database_held") and count_rows(postgresql_url, DeviceHistory) < 5_000:
        postgresql.psql(kill)
    wait_stored(postgresql_url, 5_000)
    counts = consumer.stop()
    assert counts["database_retries"] >= 1, "no kill was noticed: nothing was proved"
    assert_nothing_lost(amqp, postgresql_url, 5_000, counts)


def test_commit_that_takes_three_heartbeats_is_acked_on_the_same_connection(
    amqp: Amqp, postgresql: PostgreSQL, postgresql_url: str, cli: Cli
) -> None:
    env = settings(amqp, postgresql_url, cli, RPI_HEALTH_AMQP_URL=f"{amqp.url}?heartbeat=2")
    consumer = Consuming(cli, env)
    consumer.wait_for("consuming")
    name = database_name(postgresql_url)
    delay = """
        CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(7); RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON device_history DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION wait();
    """
    postgresql.psql(delay, name)
    amqp.publish([dated(1)])
    wait_until(lambda: amqp.counts() == (0, 0), 20, "the ack")
    counts = consumer.stop()
    assert (counts["sessions"], counts["stale_acks"], counts["redelivered"]) == (1, 0, 0)
    assert_nothing_lost(amqp, postgresql_url, 1, counts)


def test_locked_sqlite_file_is_waited_for(amqp: Amqp, sqlite_url: str, cli: Cli) -> None:
    consumer = Consuming(cli, settings(amqp, f"{sqlite_url}?timeout=0.2", cli))
    consumer.wait_for("consuming")
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    amqp.publish([dated(n) for n in range(10)])
    consumer.wait_for("database_held")
    other.execute("ROLLBACK")
    other.close()
    wait_stored(sqlite_url, 10)
    consumer.wait_for("database_back")
    assert_nothing_lost(amqp, sqlite_url, 10, consumer.stop())


@pytest.mark.parametrize("state", ["missing", "newer"])
def test_schema_that_is_not_current_is_exit_6_and_dead_letters_nothing(
    amqp: Amqp, postgresql: PostgreSQL, postgresql_url: str, cli: Cli, state: str
) -> None:
    amqp.publish([dated(1)])
    env = {**amqp.env, "RPI_HEALTH_DATABASE_URL": postgresql_url}
    if state == "newer":
        cli("init-db", env=env)
        name = database_name(postgresql_url)
        postgresql.psql("UPDATE rpi_health_alembic_version SET version_num = 'from_the_future'", name)
    done = cli("consume", env=env)
    assert done.returncode == 6, done.stderr
    assert ("rpi-health init-db" if state == "missing" else "pip install -U rpi-health") in done.stderr
    assert amqp.counts() == (1, 0)
    assert amqp.get_all(amqp.dead_letter_queue) == []


def test_table_that_vanishes_while_consuming_holds_the_messages_until_it_is_back(
    amqp: Amqp, postgresql: PostgreSQL, postgresql_url: str, cli: Cli
) -> None:
    consumer = Consuming(cli, settings(amqp, postgresql_url, cli))
    consumer.wait_for("consuming")
    name = database_name(postgresql_url)
    postgresql.psql("ALTER TABLE device_history RENAME TO elsewhere", name)
    amqp.publish([dated(n) for n in range(10)])
    assert "rpi-health init-db" in consumer.wait_for("database_held")["message"]
    postgresql.psql("ALTER TABLE elsewhere RENAME TO device_history", name)
    wait_stored(postgresql_url, 10)
    assert_nothing_lost(amqp, postgresql_url, 10, consumer.stop())


def test_row_that_the_database_alone_refuses_is_dead_lettered_and_the_others_are_stored(
    amqp: Amqp, postgresql: PostgreSQL, postgresql_url: str, cli: Cli
) -> None:
    env = settings(amqp, postgresql_url, cli)
    name = database_name(postgresql_url)
    postgresql.psql("ALTER TABLE device_history ADD CHECK (cpu_percent <> 117)", name)
    amqp.publish([dated(n) for n in range(200)])
    assert cli("consume", "--until-empty", env=env).returncode == 0
    assert count_rows(postgresql_url, DeviceHistory) == 199
    ((properties, body),) = amqp.get_all(amqp.dead_letter_queue)
    assert properties.headers["x-rpi-health-reason"] == "db_rejected"
    assert b'"cpu_percent": 117' in body


def test_stopping_while_the_database_is_down_is_quick_and_in_good_order(
    amqp: Amqp, postgresql: PostgreSQL, postgresql_url: str, cli: Cli
) -> None:
    consumer = Consuming(cli, settings(amqp, postgresql_url, cli))
    consumer.wait_for("consuming")
    postgresql.stop()
    amqp.publish([dated(n) for n in range(100)])
    consumer.wait_for("database_held")
    consumer.stop()
    assert amqp.counts() == (100, 0)
    postgresql.start()


def test_stopping_while_the_database_is_frozen_ends_within_20_s_and_acks_nothing(
    amqp: Amqp, postgresql: PostgreSQL, postgresql_url: str, cli: Cli
) -> None:
    env = settings(amqp, postgresql_url, cli, RPI_HEALTH_DRAIN_TIMEOUT="2s")
    amqp.publish([dated(1)])
    consumer = Consuming(cli, env)
    wait_stored(postgresql_url, 1)
    postgresql.freeze()
    try:
        amqp.publish([dated(n) for n in range(100)])
        wait_until(lambda: amqp.counts() == (0, 100), 15, "the messages to be delivered")
        consumer.stop()
    finally:
        postgresql.thaw()
    assert amqp.counts() == (100, 0)


LIMIT = {"x-queue-type": "quorum", "x-delivery-limit": 3}


def test_parked_consumer_does_not_eat_the_delivery_limit_of_a_quorum_queue(
    amqp: Amqp, postgresql: PostgreSQL, postgresql_url: str, cli: Cli
) -> None:
    """With history away, the status table still takes writes: only the write that failed proves that all is well."""
    env = settings(amqp, postgresql_url, cli, RPI_HEALTH_PARK_AFTER="1s", RPI_HEALTH_RECONNECT_MAX_DELAY="0.5s")
    amqp.declare(arguments=LIMIT)
    consumer = Consuming(cli, env)
    consumer.wait_for("consuming")
    postgresql.psql("ALTER TABLE device_history RENAME TO elsewhere", database_name(postgresql_url))
    amqp.publish([dated(n) for n in range(50)])
    consumer.wait_for("parked")
    for turn in range(1, 5):
        amqp.server.ctl("close_all_connections", "while parked")
        consumer.wait_for("retry", count=turn)
        wait_until(lambda: "pid" in amqp.server.ctl("list_connections", "pid"), 10, "the next connection")
    postgresql.psql("ALTER TABLE elsewhere RENAME TO device_history", database_name(postgresql_url))
    wait_until(lambda: amqp.counts() == (0, 0), 20, "the messages to be delivered again")
    counts = consumer.stop()
    assert counts["parked"] == 1
    assert_nothing_lost(amqp, postgresql_url, 50, counts)


def test_write_that_hangs_is_parked_before_the_broker_loses_patience(
    amqp: Amqp, postgresql: PostgreSQL, postgresql_url: str, cli: Cli
) -> None:
    consumer = Consuming(cli, settings(amqp, postgresql_url, cli, RPI_HEALTH_PARK_AFTER="1s"))
    consumer.wait_for("consuming")
    lock = "BEGIN; LOCK TABLE device_status; SELECT pg_sleep(6); COMMIT"
    locking = threading.Thread(target=postgresql.psql, args=(lock, database_name(postgresql_url)))
    locking.start()
    held = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted"
    wait_until(lambda: int(postgresql.psql(held, database_name(postgresql_url))) > 0, 10, "the lock")
    amqp.publish([dated(n) for n in range(2_000)])
    consumer.wait_for("parked")
    wait_until(lambda: amqp.counts() == (2_000, 0), 5, "the messages to go back")
    locking.join()
    wait_until(lambda: amqp.counts() == (0, 0), 20, "the messages to be delivered again")
    counts = consumer.stop()
    assert (counts["parked"], counts["sessions"]) == (1, 2)
    assert_nothing_lost(amqp, postgresql_url, 2_000, counts)


def test_clean_stops_while_the_database_is_misconfigured_accuse_no_message(
    amqp: Amqp, postgresql: PostgreSQL, postgresql_url: str, cli: Cli
) -> None:
    env = settings(amqp, postgresql_url, cli)
    postgresql.psql("ALTER TABLE device_history RENAME TO elsewhere", database_name(postgresql_url))
    amqp.publish([dated(n) for n in range(20)])
    for _ in range(5):
        consumer = Consuming(cli, env)
        consumer.wait_for("database_held")
        consumer.stop()
    postgresql.psql("ALTER TABLE elsewhere RENAME TO device_history", database_name(postgresql_url))
    done = cli("consume", "--until-empty", env=env)
    assert done.returncode == 0, done.stderr
    assert count_rows(postgresql_url, DeviceHistory) == 20
    assert amqp.get_all(amqp.dead_letter_queue) == []


def test_identical_messages_in_several_live_consumers_accuse_each_other_of_nothing(
    amqp: Amqp, postgresql_url: str, cli: Cli
) -> None:
    env = settings(amqp, postgresql_url, cli, RPI_HEALTH_BATCH_SIZE="50")
    amqp.publish([b'{"id": "pi-1", "wifi_status": "ok"}'] * 1_500)
    with amqp.channel() as channel:
        for _ in range(1_500):
            channel.basic_get(amqp.queue)
    wait_until(lambda: amqp.counts() == (1_500, 0), 10, "the messages to be redelivered")
    consumers = [Consuming(cli, env) for _ in range(5)]
    wait_until(lambda: amqp.counts() == (0, 0), 60, "an empty queue")
    for consumer in consumers:
        assert consumer.stop()["dead_lettered"] == 0
    assert amqp.get_all(amqp.dead_letter_queue) == []


POISONED = """
import os
from rpi_health.cli import main
from rpi_health.consumer import writer

decode = writer.decode
def decode_or_die(body, envelope):
    if b"deadly" in body:
        os._exit(9)
    return decode(body, envelope)
writer.decode = decode_or_die
main()
"""


def test_message_that_kills_the_process_each_time_is_set_aside_and_the_others_flow(
    amqp: Amqp, migrated_url: str, tmp_path: Path, cli: Cli
) -> None:
    program = tmp_path / "poisoned.py"
    program.write_text(POISONED)
    quick = {"RPI_HEALTH_DATABASE_RETRY_MAX_DELAY": "0.2s"}
    env = {**os.environ, **amqp.env, **quick, "RPI_HEALTH_DATABASE_URL": migrated_url}
    amqp.publish([dated(1), dated(2), b"deadly", dated(3), dated(4)])
    starts = 0
    for _ in range(8):
        starts += 1
        if subprocess.run([sys.executable, program, "consume", "--until-empty"], env=env, check=False).returncode == 0:
            break
    assert 3 <= starts <= 6
    assert count_rows(migrated_url, DeviceHistory) == 4
    ((properties, body),) = amqp.get_all(amqp.dead_letter_queue)
    assert (properties.headers["x-rpi-health-reason"], body) == ("poison", b"deadly")
    assert amqp.counts() == (0, 0)


def test_read_only_folder_of_the_sqlite_file_is_a_clear_error(amqp: Amqp, tmp_path: Path, cli: Cli) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    blocked.chmod(stat.S_IRUSR)
    done = cli("init-db", env={**amqp.env, "RPI_HEALTH_DATABASE_URL": f"sqlite:///{blocked}/fleet.db"})
    assert done.returncode in (3, 5), done.stderr
    assert "name a file that this user may write" in done.stderr
    assert "Traceback" not in done.stderr
