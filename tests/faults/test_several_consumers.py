"""Several consumers of one queue, one of them behind its time: the newest state wins, nothing is stored twice."""

from __future__ import annotations

import random
import signal

from tests.oracle import history_keys
from tests.traffic import Traffic
from tests.trial import Trial
from tests.waiting import wait_until

CONSUMERS = 8
MESSAGES = 10_000
HEARTBEAT_S = 1
IN_HAND = 100


def test_eight_consumers_of_one_device_whose_messages_come_shuffled_and_twice_store_the_newest_state(
    trial: Trial,
) -> None:
    trial.traffic = Traffic(devices=1)
    bodies = trial.traffic.make_mixed(MESSAGES) * 2
    random.Random(2).shuffle(bodies)
    consumers = [trial.consume(batch_size="100", prefetch="200") for _ in range(CONSUMERS)]
    for consumer in consumers:
        consumer.wait_for("consuming")
    trial.amqp.publish(bodies)
    trial.wait_stored(60)
    wait_until(lambda: trial.amqp.counts() == (0, 0), 30, "an empty queue")
    counts = [consumer.stop() for consumer in consumers]
    verdict = trial.assert_nothing_lost(*counts)
    assert verdict.repeated_dead_letters == len(trial.traffic.bad)
    assert all(each["stored"] > 0 for each in counts), "not all of them took part"
    assert sum(each["redelivered"] for each in counts) == 0
    said = [event["error"] for consumer in consumers for event in consumer.events("database_held")]
    if trial.url.startswith("sqlite"):
        # There is one lock for the whole file, and no queue before it.
        assert all("locked" in message for message in said), said
    else:
        assert said == []


def test_zombie_that_commits_what_another_consumer_has_stored_changes_nothing(trial: Trial) -> None:
    """It was stopped before its transaction for so long that the broker gave its messages to somebody else."""
    failpoints = {"failpoints": "before_transaction=sleep:3", "failpoints_allowed": "1"}
    zombie = trial.consume(amqp_url=f"{trial.amqp.url}?heartbeat={HEARTBEAT_S}", **failpoints)
    trial.publish(IN_HAND)
    zombie.wait_for("failpoint")
    zombie.process.send_signal(signal.SIGSTOP)
    other = trial.consume()
    trial.wait_stored()
    # Newer than what the zombie has in hand.
    trial.publish(IN_HAND)
    trial.wait_stored()
    before = history_keys(trial.url)
    zombie.process.send_signal(signal.SIGCONT)
    zombie.wait_for("consuming", count=2)
    counts = [zombie.stop(), other.stop()]
    assert counts[0]["stored"] > 0, "it committed nothing: nothing was proved"
    assert counts[0]["stale_acks"] == counts[0]["stored"]
    assert counts[1]["redelivered"] == IN_HAND
    assert history_keys(trial.url) == before
    trial.assert_nothing_lost(*counts)


def test_consumer_that_was_stopped_within_its_transaction_commits_and_its_ack_is_dropped(sqlite_trial: Trial) -> None:
    failpoints = {"failpoints": "before_commit=sleep:3", "failpoints_allowed": "1"}
    consumer = sqlite_trial.consume(amqp_url=f"{sqlite_trial.amqp.url}?heartbeat={HEARTBEAT_S}", **failpoints)
    sqlite_trial.publish(IN_HAND)
    consumer.wait_for("failpoint")
    consumer.process.send_signal(signal.SIGSTOP)
    wait_until(lambda: sqlite_trial.amqp.counts() == (IN_HAND, 0), 15, "the broker to take the messages back")
    consumer.process.send_signal(signal.SIGCONT)
    sqlite_trial.assert_recovers()
    counts = sqlite_trial.finish(consumer)
    assert counts["sessions"] == 2
    assert counts["redelivered"] == IN_HAND
    assert counts["stale_acks"] > 0
