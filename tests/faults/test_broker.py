"""The broker closes connections, restarts, dies and freezes: consumers come back, and nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.history_lock import history_locked
from tests.proxy import Proxy
from tests.trial import Trial
from tests.waiting import wait_until
from tools.servers import RabbitMQ

HEARTBEAT_S = 2


def close_connections(server: RabbitMQ) -> None:
    server.ctl("close_all_connections", "on purpose")


def kill_and_start(server: RabbitMQ) -> None:
    server.kill()
    server.start()


@pytest.mark.parametrize("fault", [close_connections, RabbitMQ.restart, kill_and_start])
def test_broker_that_goes_away_while_messages_flow_loses_nothing(
    sqlite_trial: Trial, fault: Callable[[RabbitMQ], None]
) -> None:
    trial = sqlite_trial
    consumers = [trial.consume(), trial.consume()]
    for consumer in consumers:
        consumer.wait_for("consuming")
    # Nothing is published before the lock is held: an ack on its way would look like a message in hand.
    with history_locked(trial.url), trial.producing(per_second=1_000):
        for consumer in consumers:
            consumer.wait_until_holding()
        fault(trial.amqp.server)
        for consumer in consumers:
            consumer.wait_for("retry")
    for consumer in consumers:
        consumer.wait_for("consuming", count=2)
    trial.assert_recovers()
    trial.wait_stored()
    assert trial.amqp.consumer_count() == 2
    counts = [consumer.stop() for consumer in consumers]
    # One more is due where the broker took a login before it was ready.
    assert all(each["sessions"] <= 3 for each in counts)
    assert sum(each["redelivered"] for each in counts) > 0
    assert sum(each["stale_acks"] for each in counts) > 0
    trial.assert_nothing_lost(*counts)


def test_frozen_broker_is_noticed_by_its_missing_heartbeats(
    sqlite_trial: Trial, proxy: Proxy, record_property: Callable[[str, object], None]
) -> None:
    trial = sqlite_trial
    consumer = trial.consume(amqp_url=trial.amqp.url_by(proxy.port, heartbeat=HEARTBEAT_S, stack_timeout=1))
    consumer.wait_for("consuming")
    with history_locked(trial.url):
        trial.publish(300)
        wait_until(lambda: trial.amqp.counts() == (0, 300), 15, "the messages to be delivered")
        trial.amqp.server.freeze()
    frozen_at = time.monotonic()
    try:
        consumer.wait_for("retry", timeout_s=HEARTBEAT_S + 10)
        record_property("noticed_s", round(time.monotonic() - frozen_at, 1))
        # A frozen broker still takes connections, and says nothing on them.
        consumer.wait_for("retry", count=3)
        assert proxy.connections <= len(consumer.events("retry")) + 1
    finally:
        trial.amqp.server.thaw()
    trial.assert_recovers()
    trial.wait_stored()
    assert trial.amqp.consumer_count() == 1
    counts = consumer.stop()
    assert counts["sessions"] == 2
    trial.assert_nothing_lost(counts)


def test_stopping_while_the_broker_is_frozen_takes_no_longer_than_draining(sqlite_trial: Trial) -> None:
    trial = sqlite_trial
    consumer = trial.consume(drain_timeout="2s")
    consumer.wait_for("consuming")
    with history_locked(trial.url):
        trial.publish(300)
        wait_until(lambda: trial.amqp.counts() == (0, 300), 15, "the messages to be delivered")
        trial.amqp.server.freeze()
    try:
        counts = consumer.stop()
    finally:
        trial.amqp.server.thaw()
    successor = trial.consume()
    trial.assert_recovers()
    trial.wait_stored()
    trial.assert_nothing_lost(counts, successor.stop())
