"""The consumer fails at each point of a message's way, in each manner, on each database: nothing is lost."""

from __future__ import annotations

from typing import Any

import pytest

from rpi_health.failpoints import CRASHED, POINTS
from tests.consuming import Consuming
from tests.oracle import Verdict
from tests.trial import Trial
from tests.waiting import wait_until

MESSAGES = 300
HEARTBEAT_S = 1
#: RabbitMQ gives up a client after two heartbeats without a word, at the next look.
BEYOND_THE_HEARTBEAT_S = 4
#: The points that the thread passes which owns the connection; a sleep there is silence.
ON_THE_IO_THREAD = ("reconnecting", "delivered")
#: Where an error that nobody expected is taken for trouble with the broker or the database, and tried again.
SURVIVED = ("delivered", "before_transaction", "before_commit")


def start(trial: Trial, point: str, failure: str) -> Consuming:
    """Start a consumer that is going to fail, and have it pass the point."""
    trial.publish(MESSAGES, bad=3)
    turn = "@150" if point == "delivered" else ""
    consumer = trial.consume(
        amqp_url=f"{trial.amqp.url}?heartbeat={HEARTBEAT_S}",
        failpoints=f"{point}={failure}{turn}",
        failpoints_allowed="1",
        batch_size="100",
    )
    if point == "reconnecting":
        consumer.wait_for("consuming")
        trial.amqp.server.ctl("close_all_connections", "so that it reconnects")
    (failed,) = [consumer.wait_for("failpoint")]
    assert failed["point"] == point
    return consumer


def finish(trial: Trial, consumer: Consuming) -> tuple[dict[str, Any], Verdict]:
    """Wait until this consumer has done what is left. Returns its counts, and what became of the messages."""
    trial.assert_recovers()
    trial.wait_stored()
    wait_until(lambda: trial.amqp.counts() == (0, 0), 15, "an empty queue")
    counts = consumer.stop()
    return counts, trial.assert_nothing_lost(counts)


def finish_after_death(trial: Trial, point: str) -> None:
    """Start a consumer without failpoints, as a service manager would, and let it finish."""
    counts, verdict = finish(trial, trial.consume())
    # Nothing was in hand while there was no connection; what was dead-lettered but not settled comes twice.
    assert (counts["redelivered"] > 0) == (point != "reconnecting")
    assert verdict.repeated_dead_letters == (3 if point == "after_confirm" else 0)


@pytest.mark.parametrize("point", POINTS)
def test_crash_loses_nothing(trial: Trial, point: str) -> None:
    # Later by a moment: whatever was wrongly acked by then has reached the broker.
    consumer = start(trial, point, "crash:0.2")
    assert consumer.process.wait(10) == CRASHED, consumer.output
    finish_after_death(trial, point)


@pytest.mark.parametrize("point", POINTS)
def test_error_that_nobody_expected_loses_nothing(trial: Trial, point: str) -> None:
    consumer = start(trial, point, "raise")
    if point in SURVIVED:
        counts, _ = finish(trial, consumer)
        assert (counts["sessions"], counts["database_retries"]) == ((2, 0) if point == "delivered" else (1, 1))
        return
    assert consumer.process.wait(20) == 1, consumer.output
    assert "Please report it" in consumer.output
    finish_after_death(trial, point)


@pytest.mark.parametrize("point", POINTS)
def test_sleep_beyond_the_heartbeat_loses_nothing(trial: Trial, point: str) -> None:
    consumer = start(trial, point, f"sleep:{BEYOND_THE_HEARTBEAT_S}")
    counts, _ = finish(trial, consumer)
    # A sleep of the writer or of the publisher is none of the connection's business.
    assert counts["sessions"] == (2 if point in ON_THE_IO_THREAD else 1), consumer.output
