"""Consumers killed between their writes and their commit, again and again: what random faults hardly ever hit."""

from __future__ import annotations

import time

from rpi_health.models import DeviceHistory
from tests.history_lock import history_locked
from tests.reports import count_rows
from tests.trial import Trial
from tests.waiting import wait_until

MESSAGES = 30_000
CONSUMERS = 3
KILLS = 10
#: How long the table is held before a kill: long enough for every consumer to be caught with a batch in hand.
HELD_S = 0.4
# So that the messages last until the last kill.
SMALL = {"batch_size": "25", "prefetch": "125"}


def test_consumers_killed_within_their_transactions_lose_nothing(trial: Trial) -> None:
    trial.publish_mixed(MESSAGES)
    consumers = [trial.consume(**SMALL) for _ in range(CONSUMERS)]
    for _ in range(KILLS):
        stored = count_rows(trial.url, DeviceHistory)
        assert stored < len(trial.traffic.reports), "the consumers were done before the last kill"
        wait_until(lambda before=stored: count_rows(trial.url, DeviceHistory) > before, 15, "progress")
        victim = consumers.pop(0)
        victim.wait_for("consuming")
        with history_locked(trial.url):
            time.sleep(HELD_S)
            victim.process.kill()
            victim.process.wait()
            consumers.append(trial.consume(**SMALL))
            if not trial.url.startswith("sqlite"):  # where the lock covers the whole file, and nobody can start
                consumers[-1].wait_for("consuming")
    assert count_rows(trial.url, DeviceHistory) < len(trial.traffic.reports), "the last kill came too late"
    trial.assert_recovers(within_s=30)  # behind what is left of the backlog
    wait_until(lambda: trial.amqp.counts() == (0, 0), 30, "an empty queue")
    counts = [consumer.stop() for consumer in consumers]
    trial.assert_nothing_lost(*counts)
