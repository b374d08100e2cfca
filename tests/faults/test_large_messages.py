"""Large messages while nothing can be stored: memory stays bounded, the connection lives, and nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rpi_health.payload.jsontext import MAX_BODY_BYTES
from tests.consuming import Consuming
from tests.history_lock import history_locked
from tests.trial import Trial
from tests.waiting import wait_until

#: 112 MiB of messages, as large as they may be, of which 64 MiB may be received ahead.
MESSAGES = 450
BOUND_MIB = 64
#: Less than the bound would differ by without it; copies on the way, and what is received meanwhile, take less.
SLACK_MIB = 24
HEARTBEAT_S = 1
DRAIN_S = 2
#: For what else there is to do when it ends, on a machine with much else to do.
GRACE_S = 3


@contextmanager
def full(trial: Trial) -> Iterator[tuple[Consuming, float]]:
    """A consumer that has received as much as it may and can store nothing, and how much memory it may take."""
    consumer = trial.start(
        amqp_url=trial.amqp.url_by(trial.amqp.server.port, heartbeat=HEARTBEAT_S),
        database_url=f"{trial.url}?timeout=0.2",
        prefetch="1000",
        drain_timeout=f"{DRAIN_S}s",
    )
    empty_mib = consumer.resources().memory_mib
    with history_locked(trial.url):
        trial.amqp.publish(body.ljust(MAX_BODY_BYTES) for body in trial.traffic.make_reports(MESSAGES))
        wait_until(lambda: consumer.resources().memory_mib > empty_mib + BOUND_MIB - 4, 20, "it to be full")
        yield consumer, empty_mib + BOUND_MIB + SLACK_MIB


def test_memory_is_bounded_and_the_connection_lives_until_all_can_be_stored(sqlite_trial: Trial) -> None:
    with full(sqlite_trial) as (consumer, limit_mib):
        time.sleep(4 * HEARTBEAT_S)  # the broker gives up a connection that is silent for twice as long
        assert consumer.resources().memory_mib < limit_mib
    counts = sqlite_trial.finish(consumer)
    assert (counts["sessions"], counts["redelivered"], counts["stored"]) == (1, 0, MESSAGES + 1)


def test_full_consumer_ends_in_time_and_gives_all_back(sqlite_trial: Trial) -> None:
    with full(sqlite_trial) as (consumer, _):
        began = time.monotonic()
        counts = consumer.stop()
        assert time.monotonic() - began < DRAIN_S + GRACE_S
    assert counts["stored"] == 1
    assert sqlite_trial.amqp.counts() == (MESSAGES, 0)
