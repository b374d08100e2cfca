"""Faults of any database: messages are held, retried and resumed; none is dead-lettered, and the broker stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from rpi_health.database import create_engine
from tests.command import Cli
from tests.faults.conftest import DatabaseServer
from tests.history_lock import history_locked
from tests.oracle import history_keys
from tests.proxy import Mode, Proxy
from tests.traffic import encode
from tests.trial import Trial
from tests.waiting import wait_until

MESSAGES = 100


def execute(url: str, *statements: str) -> None:
    engine = create_engine(url, writer=True)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


# ── A server that goes away ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_server_that_is_restarted_while_messages_flow_is_waited_for(
    server_trial: Trial, server: DatabaseServer, end: str
) -> None:
    consumer = server_trial.start(batch_size="20")
    with server_trial.producing(per_second=500):
        getattr(server, end)()
        consumer.wait_for("database_held")
        server.start()
        consumer.wait_for("database_back")
    server_trial.finish_held(consumer)


def test_server_that_is_down_for_long_has_the_messages_handed_back_once_and_is_asked_again_and_again(
    server_trial: Trial, server: DatabaseServer, database_proxy: Proxy
) -> None:
    consumer = server_trial.start(database_url=server_trial.url_by(database_proxy.port), park_after="1s")
    server.stop()
    server_trial.publish(MESSAGES)
    consumer.wait_for("parked")
    wait_until(lambda: server_trial.amqp.counts() == (MESSAGES, 0), 15, "the messages to go back to the queue")
    attempts = database_proxy.connections
    wait_until(lambda: database_proxy.connections >= attempts + 5, 30, "five more attempts to connect")
    server.start()
    server_trial.finish_held(consumer, parked=1)


def test_server_that_is_frozen_for_long_is_waited_for(server_trial: Trial, server: DatabaseServer) -> None:
    consumer = server_trial.start(park_after="1s")
    server.freeze()
    server_trial.publish(MESSAGES)
    consumer.wait_for("parked")
    server.thaw()
    # The write that hung was answered in the end.
    server_trial.finish_held(consumer, parked=1, retried=False)


def test_server_whose_name_does_not_resolve_at_the_start_is_exit_5_and_leaves_the_messages(
    server_trial: Trial, server: DatabaseServer, cli: Cli
) -> None:
    server_trial.publish(1)
    url = server_trial.url.replace("127.0.0.1", "no-such-host.invalid")
    env = {**server_trial.env, "RPI_HEALTH_DATABASE_URL": url, "RPI_HEALTH_STARTUP_TIMEOUT": "1s"}
    done = cli("consume", env=env)
    assert (done.returncode, "no-such-host.invalid" in done.stderr) == (5, True), done.stderr
    server_trial.finish(server_trial.consume())


# ── A connection that is lost ─────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def commits_held(url: str) -> Iterator[None]:
    """Nobody else can commit meanwhile."""
    engine = create_engine(url)
    if engine.dialect.name == "postgresql":
        execute(
            url,
            "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END $$",
            "CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON device_history DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION wait()",
        )
        hold = ["SELECT pg_advisory_xact_lock(1)"]
    else:
        hold = [f"BACKUP STAGE {stage}" for stage in ("START", "FLUSH", "BLOCK_DDL", "BLOCK_COMMIT")]
    with engine.connect() as connection:
        for statement in hold:
            connection.exec_driver_sql(statement)
        yield
    engine.dispose()


def wait_until_it_waits(trial: Trial, server: DatabaseServer) -> None:
    wait_until(lambda: server.sessions(trial.database, waiting=True), 15, "the consumer to be held up")


@pytest.mark.parametrize("held", [history_locked, commits_held])
def test_session_that_is_ended_in_a_transaction_or_at_its_commit_is_replaced(
    server_trial: Trial, server: DatabaseServer, held: Callable[[str], AbstractContextManager[None]]
) -> None:
    consumer = server_trial.start()
    with held(server_trial.url):
        server_trial.publish(MESSAGES)
        wait_until_it_waits(server_trial, server)
        server.end_sessions(server_trial.database, waiting=True)
        consumer.wait_for("database_held")
    server_trial.finish_held(consumer)


def test_connection_that_is_reset_in_a_transaction_is_replaced(
    server_trial: Trial, server: DatabaseServer, database_proxy: Proxy
) -> None:
    consumer = server_trial.start(database_url=server_trial.url_by(database_proxy.port))
    with history_locked(server_trial.url):
        server_trial.publish(MESSAGES)
        wait_until_it_waits(server_trial, server)
        database_proxy.reset()
        consumer.wait_for("database_held")
    server_trial.finish_held(consumer)


def test_commit_whose_answer_is_lost_stores_nothing_twice(
    server_trial: Trial, server: DatabaseServer, database_proxy: Proxy
) -> None:
    consumer = server_trial.start(database_url=server_trial.url_by(database_proxy.port))
    with commits_held(server_trial.url):
        server_trial.publish(MESSAGES)
        wait_until_it_waits(server_trial, server)
        database_proxy.mode = Mode.STALL
    wait_until(lambda: len(history_keys(server_trial.url)) > 1, 15, "the commit of which nobody tells the consumer")
    assert not consumer.events("database_held")
    database_proxy.reset()
    database_proxy.mode = Mode.PASS
    server_trial.finish_held(consumer)


def test_half_open_connection_holds_the_messages_no_longer_than_a_database_that_is_away(
    server_trial: Trial, database_proxy: Proxy
) -> None:
    """What lies between may keep a connection alive that leads nowhere: keepalives do not notice that."""
    consumer = server_trial.start(database_url=server_trial.url_by(database_proxy.port), park_after="1s")
    database_proxy.mode = Mode.BLACKHOLE
    server_trial.publish(MESSAGES)
    consumer.wait_for("parked")
    wait_until(lambda: server_trial.amqp.counts() == (MESSAGES, 0), 15, "the messages to go back to the queue")
    database_proxy.mode = Mode.PASS
    database_proxy.reset()
    server_trial.finish_held(consumer, parked=1)


# ── A schema that is not current ──────────────────────────────────────────────────────────────────────────────────────

VERSION = "rpi_health_alembic_version"
STATES = {
    "missing": (["device_status", "device_history", "message_receipts", "poison_notes", VERSION], "init-db"),
    "older": (["device_history", "message_receipts", "poison_notes", VERSION], "init-db"),
    "newer": ([], "pip install -U rpi-health"),
}


@pytest.mark.parametrize("state", STATES)
def test_schema_that_is_not_current_is_exit_6_that_names_the_command_and_dead_letters_nothing(
    trial: Trial, cli: Cli, state: str
) -> None:
    dropped, command = STATES[state]
    execute(trial.url, *(f"DROP TABLE {table}" for table in dropped))
    if state == "newer":
        execute(trial.url, f"UPDATE {VERSION} SET version_num = 'from_the_future'")
    trial.publish(1)
    done = cli("consume", env=trial.env)
    assert (done.returncode, command in done.stderr) == (6, True), done.stderr
    assert [encode(key) for key in trial.traffic.reports] == [body for _, body in trial.amqp.get_all()]
    assert trial.amqp.get_all(trial.amqp.dead_letter_queue) == []


def test_table_that_vanishes_while_consuming_holds_the_messages_until_it_is_back(trial: Trial) -> None:
    consumer = trial.start()
    execute(trial.url, "ALTER TABLE device_history RENAME TO elsewhere")
    trial.publish(MESSAGES)
    assert "rpi-health init-db" in consumer.wait_for("database_held")["error"]
    execute(trial.url, "ALTER TABLE elsewhere RENAME TO device_history")
    trial.finish_held(consumer)


# ── A row that is refused ─────────────────────────────────────────────────────────────────────────────────────────────


def refuse(trial: Trial, numbers: list[int]) -> None:
    """Have the database refuse the reports of these numbers, which are not yet published."""
    text = ", ".join(map(str, numbers))
    check = f"ALTER TABLE device_history ADD CONSTRAINT picky CHECK (cpu_percent NOT IN ({text}))"
    if trial.url.startswith("sqlite"):
        check = (
            f"CREATE TRIGGER picky BEFORE INSERT ON device_history WHEN NEW.cpu_percent IN ({text})"
            " BEGIN SELECT RAISE(ABORT, 'not this one'); END"
        )
    execute(trial.url, check)


@pytest.mark.parametrize(("reports", "refused", "bad"), [(200, [117], 0), (500, [0, 250, 499], 2)])
def test_rows_that_the_database_refuses_are_dead_lettered_and_all_others_are_stored(
    trial: Trial, reports: int, refused: list[int], bad: int
) -> None:
    refuse(trial, refused)
    trial.publish(reports, bad=bad)
    for key in [key for key in trial.traffic.reports if key.number in refused]:
        trial.traffic.reports.remove(key)
        trial.traffic.bad.add(encode(key))
    consumer = trial.consume("--until-empty")
    assert consumer.process.wait(30) == 0, consumer.output
    counts = consumer.counts()
    assert (counts["stored"], counts["dead_lettered"]) == (reports - len(refused), len(refused) + bad)
    reasons = {event["reason"] for event in consumer.events("dead_lettered")}
    assert reasons == ({"db_rejected", "bad_json"} if bad else {"db_rejected"})
    assert counts["database_retries"] == 0
    assert len(history_keys(trial.url)) == reports - len(refused)
    trial.assert_nothing_lost(counts)
