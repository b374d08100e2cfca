"""While nothing can be stored, messages are held: on the session they came on at first, at the broker later on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rpi_health.database import create_engine
from tests.consuming import Consuming
from tests.trial import Trial
from tests.waiting import wait_until

MESSAGES = 20
#: The consumer looks at its state once a second: it shall have looked more than once.
A_WHILE_S = 2.5


@contextmanager
def locked(trial: Trial) -> Iterator[None]:
    """Nobody else can write meanwhile."""
    engine = create_engine(trial.url, writer=True)
    with engine.begin():
        yield
    engine.dispose()


def start(trial: Trial, **settings: str) -> Consuming:
    """Start a consumer that is told soon that the database is locked, and have it consume."""
    consumer = trial.consume(database_url=f"{trial.url}?timeout=0.2", **settings)
    consumer.wait_for("consuming")
    return consumer


def finish(trial: Trial, consumer: Consuming) -> dict[str, int]:
    """Wait until all is stored and settled. Returns the consumer's counts."""
    trial.assert_recovers()
    trial.wait_stored()
    wait_until(lambda: trial.amqp.counts() == (0, 0), 15, "an empty queue")
    counts = consumer.stop()
    trial.assert_nothing_lost(counts)
    return counts


def test_database_that_is_away_for_a_moment_costs_no_redelivery(sqlite_trial: Trial) -> None:
    """Each redelivery counts towards the delivery limit of a quorum queue, which then drops the message."""
    consumer = start(sqlite_trial)
    with locked(sqlite_trial):
        sqlite_trial.publish(MESSAGES)
        consumer.wait_for("database_held")
        time.sleep(A_WHILE_S)
        assert sqlite_trial.amqp.counts() == (0, MESSAGES)
    counts = finish(sqlite_trial, consumer)
    assert counts["database_retries"] > 0, "the lock was not noticed: nothing was proved"
    assert (counts["sessions"], counts["parked"], counts["redelivered"]) == (1, 0, 0)


def test_database_that_is_away_for_long_has_the_messages_handed_back_once(sqlite_trial: Trial) -> None:
    consumer = start(sqlite_trial, park_after="1s")
    with locked(sqlite_trial):
        sqlite_trial.publish(MESSAGES)
        consumer.wait_for("parked", timeout_s=10)
        wait_until(lambda: sqlite_trial.amqp.counts() == (MESSAGES, 0), 10, "the messages to go back")
        time.sleep(A_WHILE_S)
        assert sqlite_trial.amqp.counts() == (MESSAGES, 0)
    counts = finish(sqlite_trial, consumer)
    assert (counts["sessions"], counts["parked"]) == (2, 1)
