"""Faults that PostgreSQL has a name for, caused by an administrator or by a neighbour: all of them pass."""

from __future__ import annotations

import pytest

from rpi_health.database import create_engine
from tests.history_lock import history_locked
from tests.trial import Trial
from tests.waiting import wait_until
from tools.servers import PostgreSQL

MESSAGES = 100
HEARTBEAT_S = 1


@pytest.fixture
def trial(postgresql: PostgreSQL, postgresql_trial: Trial) -> Trial:
    """A trial whose consumer is an ordinary role, of the database's name: superusers are above most limits."""
    role = postgresql_trial.database
    postgresql.psql(
        f"CREATE ROLE {role} LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role};"
        f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}",
        role,
    )
    postgresql_trial.env["RPI_HEALTH_DATABASE_URL"] = postgresql_trial.url.replace("postgres@", f"{role}@")
    return postgresql_trial


DISK_IS_FULL = """
    CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE 'could not extend file' USING ERRCODE = 'disk_full'; END $$;
    CREATE TRIGGER fill BEFORE INSERT ON device_history EXECUTE FUNCTION fill();
"""
#: What is done, what undoes it, and what PostgreSQL says meanwhile.
TROUBLES = {
    "disk full": (DISK_IS_FULL, "DROP TRIGGER fill ON device_history", "could not extend file"),
    "read-only after a failover": (
        "ALTER DATABASE {0} SET default_transaction_read_only = on",
        "SET default_transaction_read_only = off; ALTER DATABASE {0} RESET default_transaction_read_only",
        "read-only transaction",
    ),
    "too many connections": (
        "ALTER DATABASE {0} CONNECTION LIMIT 0",
        "ALTER DATABASE {0} CONNECTION LIMIT -1",
        "too many connections",
    ),
    "role locked out": ("ALTER ROLE {0} NOLOGIN", "ALTER ROLE {0} LOGIN", "not permitted to log in"),
    "permission taken away": (
        "REVOKE INSERT ON device_status FROM {0}",
        "GRANT INSERT ON device_status TO {0}",
        "permission denied",
    ),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_trouble_that_passes_holds_the_messages(postgresql: PostgreSQL, trial: Trial, trouble: str) -> None:
    do, undo, says = TROUBLES[trouble]
    consumer = trial.start()
    postgresql.psql(do.format(trial.database), trial.database)
    # Many settings are for new sessions only.
    postgresql.end_sessions(trial.database)
    trial.publish(MESSAGES)
    consumer.wait_until_held(says)
    postgresql.psql(undo.format(trial.database), trial.database)
    trial.finish_held(consumer)


@pytest.mark.parametrize("limit", ["lock_timeout", "statement_timeout"])
def test_limit_on_waiting_holds_the_messages_until_the_lock_is_free(
    postgresql: PostgreSQL, trial: Trial, limit: str
) -> None:
    postgresql.psql(f"ALTER ROLE {trial.database} SET {limit} = '200ms'")
    consumer = trial.start()
    with history_locked(trial.url):
        trial.publish(MESSAGES)
        consumer.wait_until_held("due to " + limit.replace("_", " "))
    trial.finish_held(consumer)


def test_deadlock_victim_tries_again(postgresql: PostgreSQL, trial: Trial) -> None:
    # Who looks first, finds the deadlock and becomes its victim: the other one looks after 30 s.
    postgresql.psql(f"ALTER ROLE {trial.database} SET deadlock_timeout = '2s'")
    consumer = trial.start()
    engine = create_engine(trial.url)
    with engine.begin() as other:
        other.exec_driver_sql("SET LOCAL deadlock_timeout = '30s'")
        other.exec_driver_sql("LOCK TABLE device_history")
        trial.publish(MESSAGES)
        wait_until(lambda: postgresql.sessions(trial.database, waiting=True), 10, "the consumer to wait for the lock")
        other.exec_driver_sql("LOCK TABLE device_status")
        consumer.wait_until_held("deadlock detected")
    engine.dispose()
    trial.finish_held(consumer)


def test_commit_that_takes_three_heartbeats_is_acked_on_the_same_connection(
    postgresql: PostgreSQL, trial: Trial
) -> None:
    consumer = trial.start(amqp_url=f"{trial.amqp.url}?heartbeat={HEARTBEAT_S}")
    delay = f"""
        CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_sleep({3.5 * HEARTBEAT_S}); RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON device_history DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION wait();
    """
    postgresql.psql(delay, trial.database)
    trial.publish(1)
    counts = trial.finish(consumer)
    assert (counts["sessions"], counts["stale_acks"], counts["redelivered"]) == (1, 0, 0)
