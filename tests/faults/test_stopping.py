"""SIGTERM at any moment: the consumer finishes what it can, gives back the rest, and ends within 20 s in good order."""

from __future__ import annotations

import signal
import time

import pytest

from rpi_health.models import DeviceHistory
from tests.consuming import Consuming
from tests.history_lock import history_locked
from tests.proxy import Proxy
from tests.reports import count_rows
from tests.trial import Trial
from tests.waiting import wait_until
from tools.servers import PostgreSQL

MESSAGES = 100
#: Where nothing has to be waited for it takes one second, and on a machine with much else to do more.
AT_ONCE_S = 10
#: Far longer than a test may take: who waits for it to be over has not been interrupted.
LONG = "60s"


def slow(point: str, seconds: float) -> dict[str, str]:
    return {"failpoints": f"{point}=sleep:{seconds}", "failpoints_allowed": "1"}


def stop(consumer: Consuming, within_s: float = AT_ONCE_S) -> dict[str, int]:
    """Stop it as a service manager does. Returns its counts."""
    began = time.monotonic()
    counts = consumer.stop()
    assert time.monotonic() - began < within_s
    return counts


def finish(trial: Trial) -> dict[str, int]:
    """The next consumer does the rest."""
    return trial.finish(trial.consume())


def test_idle_consumer_ends_at_once(sqlite_trial: Trial) -> None:
    consumer = sqlite_trial.start()
    counts = stop(consumer)
    assert (counts["stored"], counts["stale_acks"]) == (1, 0)
    sqlite_trial.assert_nothing_lost(counts)


def test_batch_in_hand_is_stored_and_acked_and_the_rest_is_given_back(trial: Trial) -> None:
    trial.publish_mixed(3_000)
    consumer = trial.consume(batch_size="10", prefetch="500")
    wait_until(lambda: count_rows(trial.url, DeviceHistory) > 0, 30, "the first reports to be stored")
    counts = stop(consumer)
    dealt_with = counts["stored"] + counts["dead_lettered"]
    assert 0 < dealt_with < 3_000, "it was stopped too late: nothing was proved"
    # What was in hand was finished: all that was delivered was acked, and does not come again.
    assert (counts["deliveries"], counts["stale_acks"]) == (dealt_with, 0)
    assert finish(trial)["deliveries"] == 3_000 - dealt_with


def test_commit_under_way_is_waited_for_and_acked(trial: Trial) -> None:
    consumer = trial.consume(**slow("before_commit", 1))
    trial.publish(MESSAGES)
    consumer.wait_for("failpoint")
    counts = stop(consumer, 1 + AT_ONCE_S)
    assert (counts["stored"], counts["stale_acks"]) == (MESSAGES, 0)
    trial.assert_nothing_lost(counts)


def test_dead_letters_in_hand_are_published(sqlite_trial: Trial) -> None:
    consumer = sqlite_trial.consume(**slow("after_commit", 1))
    sqlite_trial.publish(MESSAGES, bad=3)
    consumer.wait_for("failpoint")
    counts = stop(consumer, 1 + AT_ONCE_S)
    assert (counts["stored"], counts["dead_lettered"]) == (MESSAGES, 3)
    sqlite_trial.assert_nothing_lost(counts)


def test_pause_before_the_next_connection_to_the_broker_is_cut_short(sqlite_trial: Trial, proxy: Proxy) -> None:
    consumer = sqlite_trial.start(amqp_url=sqlite_trial.amqp.url_by(proxy.port), reconnect_max_delay=LONG)
    proxy.close()
    # Each pause may be twice as long as the one before.
    consumer.wait_for("retry", count=3)
    counts = stop(consumer)
    assert (counts["sessions"], counts["stored"]) == (1, 1)
    sqlite_trial.assert_nothing_lost(counts)


def test_pause_before_the_next_try_to_store_is_cut_short(sqlite_trial: Trial) -> None:
    url = f"{sqlite_trial.url}?timeout=0.1"
    consumer = sqlite_trial.start(database_url=url, database_retry_max_delay=LONG)
    with history_locked(sqlite_trial.url):
        sqlite_trial.publish(MESSAGES)
        consumer.wait_for("database_held")
        counts = stop(consumer)
    assert (counts["stored"], counts["database_retries"] > 0) == (1, True)
    assert finish(sqlite_trial)["redelivered"] == MESSAGES


def test_parked_consumer_ends_at_once(sqlite_trial: Trial) -> None:
    consumer = sqlite_trial.start(database_url=f"{sqlite_trial.url}?timeout=0.1", park_after="0.5s")
    with history_locked(sqlite_trial.url):
        sqlite_trial.publish(MESSAGES)
        consumer.wait_for("parked")
        assert stop(consumer)["parked"] == 1
    finish(sqlite_trial)


def test_database_that_is_down_keeps_nobody_from_ending(postgresql: PostgreSQL, postgresql_trial: Trial) -> None:
    consumer = postgresql_trial.start()
    postgresql.stop()
    postgresql_trial.publish(MESSAGES)
    consumer.wait_for("database_held")
    assert stop(consumer)["stored"] == 1
    assert postgresql_trial.amqp.counts() == (MESSAGES, 0)
    postgresql.start()
    finish(postgresql_trial)


def test_database_that_is_frozen_keeps_nobody_from_ending(postgresql: PostgreSQL, postgresql_trial: Trial) -> None:
    consumer = postgresql_trial.start(drain_timeout="2s")
    postgresql.freeze()
    try:
        postgresql_trial.publish(MESSAGES)
        wait_until(lambda: postgresql_trial.amqp.counts() == (0, MESSAGES), 15, "the messages to be delivered")
        assert stop(consumer, 2 + AT_ONCE_S)["stored"] == 1
    finally:
        postgresql.thaw()
    assert finish(postgresql_trial)["redelivered"] == MESSAGES


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_ends_the_process_at_once_and_loses_nothing(sqlite_trial: Trial, number: signal.Signals) -> None:
    consumer = sqlite_trial.consume(**slow("before_commit", 60))
    sqlite_trial.publish(MESSAGES)
    consumer.wait_for("failpoint")
    consumer.process.send_signal(number)
    consumer.wait_for("stopping")
    consumer.process.send_signal(number)
    # As its default action has it: a service manager sees that it was not in good order.
    assert consumer.process.wait(5) == -number
    assert finish(sqlite_trial)["redelivered"] == MESSAGES
