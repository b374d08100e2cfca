"""Queues that are deleted, that others declared in their own way, or that several consumers share."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from rpi_health import app, config
from rpi_health.consumer import loop
from tests.amqp import Amqp
from tests.consuming import Consuming
from tests.history_lock import history_locked
from tests.trial import Trial
from tests.waiting import wait_until

SINGLE_ACTIVE = {"x-single-active-consumer": True}


@pytest.fixture
def trial(sqlite_trial: Trial) -> Trial:
    return sqlite_trial


@pytest.fixture
def url_of_limited_user(amqp: Amqp) -> Iterator[str]:
    """Of a user who may read and write queues, and declare none."""
    amqp.server.ctl("add_user", "limited", "s3cret-canary")
    amqp.server.ctl("set_permissions", "limited", "^$", ".*", ".*")
    yield f"amqp://limited:s3cret-canary@127.0.0.1:{amqp.server.port}/%2F"
    amqp.server.ctl("delete_user", "limited")


def delete_queue(amqp: Amqp) -> None:
    with amqp.channel() as channel:
        channel.queue_delete(amqp.queue)


def finish(trial: Trial, consumer: Consuming) -> dict[str, Any]:
    """The fault is over: see that all is stored. Returns the counts of the consumer."""
    trial.assert_recovers()
    return trial.finish(consumer)


def test_deleted_queue_is_declared_again_and_consumed(trial: Trial) -> None:
    trial.publish(100, bad=1)
    consumer = trial.consume()
    trial.wait_stored()
    wait_until(lambda: trial.amqp.counts() == (0, 0), 15, "an empty queue")
    delete_queue(trial.amqp)
    consumer.wait_for("consuming", count=2)
    trial.amqp.declare()  # as producers do: 406 if it had other arguments
    assert finish(trial, consumer)["sessions"] == 2
    assert len(consumer.events("retry")) == 1


def test_queue_deleted_and_declared_ten_times_in_a_row_is_consumed_in_the_end(trial: Trial) -> None:
    trial.amqp.declare()
    consumer = trial.consume(reconnect_max_delay="0.1s")
    consumer.wait_for("consuming")
    for _ in range(10):
        delete_queue(trial.amqp)
        trial.amqp.declare()
    counts = finish(trial, consumer)
    # One session for each time that it was there, and no more attempts than that.
    assert 2 <= counts["sessions"] <= 11
    assert len(consumer.events("retry")) <= 20


def test_deleted_queue_that_the_user_may_not_declare_is_waited_for(trial: Trial, url_of_limited_user: str) -> None:
    trial.amqp.declare()
    consumer = trial.consume(amqp_url=url_of_limited_user)
    consumer.wait_for("consuming")
    delete_queue(trial.amqp)
    message = consumer.wait_for("retry", count=4)["error"]
    assert all(retry["delay_s"] >= 0.05 for retry in consumer.events("retry")), "a busy loop"
    assert all(word in message for word in ("refused access", "permission", trial.amqp.queue))
    assert "s3cret" not in consumer.output
    trial.amqp.declare()
    assert finish(trial, consumer)["sessions"] == 2


@pytest.fixture
def short_consumer_timeout(amqp: Amqp) -> Iterator[None]:
    """New channels are closed when an ack takes longer than half a second."""
    changed = {"consumer_timeout": 500, "channel_tick_interval": 500}
    for name, value in changed.items():
        amqp.server.ctl("eval", f"application:set_env(rabbit, {name}, {value}).")
    yield
    for name, value in {"consumer_timeout": 1_800_000, "channel_tick_interval": 60_000}.items():
        amqp.server.ctl("eval", f"application:set_env(rabbit, {name}, {value}).")


@pytest.mark.usefixtures("short_consumer_timeout")
def test_channel_that_the_broker_closes_for_a_late_ack_is_replaced(trial: Trial) -> None:
    consumer = trial.consume()
    consumer.wait_for("consuming")
    trial.wait_seen()
    with history_locked(trial.url):
        trial.publish(300, bad=3)
        message = consumer.wait_for("retry", count=2)["error"]
        assert "delivery acknowledgement on channel" in message
    trial.assert_recovers()
    wait_until(lambda: trial.amqp.counts() == (0, 0), 15, "an empty queue")
    counts = consumer.stop()
    trial.assert_nothing_lost(counts)  # a dead letter may be there twice
    assert counts["sessions"] >= 3
    assert counts["redelivered"] >= 2 * 300
    assert counts["stale_acks"] > 0


@pytest.mark.parametrize(
    "arguments",
    [
        {"x-queue-type": "quorum"},
        {"x-message-ttl": 600_000},
        {"x-dead-letter-exchange": "elsewhere"},
        {"x-max-priority": 3, "x-queue-mode": "lazy", "x-max-length": 100_000},
    ],
    ids=["quorum", "ttl", "dlx", "others"],
)
def test_queue_with_other_arguments_is_consumed_as_it_is(trial: Trial, arguments: dict[str, Any]) -> None:
    trial.amqp.declare(arguments=arguments)
    trial.publish(20, bad=1)
    consumer = trial.consume("--until-empty")
    assert consumer.process.wait(30) == 0, consumer.output
    counts = consumer.counts()
    assert counts["sessions"] == 1
    trial.assert_nothing_lost(counts)
    trial.amqp.declare(arguments=arguments)  # 406 if it had others now


def test_missing_queue_is_declared_as_producers_declare_it(trial: Trial) -> None:
    assert trial.consume("--until-empty").process.wait(30) == 0
    trial.amqp.declare()


def test_missing_queue_is_created_as_quorum_queue_where_that_is_asked_for(trial: Trial) -> None:
    assert trial.consume("--until-empty", queue_type="quorum").process.wait(30) == 0
    trial.amqp.declare(arguments={"x-queue-type": "quorum"})


@pytest.mark.parametrize("prefetch", [1, 5])
def test_until_empty_leaves_nothing_behind_however_small_the_prefetch(trial: Trial, prefetch: int) -> None:
    trial.publish(20, bad=1)
    consumer = trial.consume("--until-empty", prefetch=str(prefetch))
    assert consumer.process.wait(30) == 0, consumer.output
    trial.assert_nothing_lost(consumer.counts())


def test_several_consumers_share_a_queue_and_each_report_is_stored_once(trial: Trial) -> None:
    consumers = [trial.consume() for _ in range(3)]
    for consumer in consumers:
        consumer.wait_for("consuming")
    trial.publish_mixed(2_000)
    trial.wait_stored(60)
    wait_until(lambda: trial.amqp.counts() == (0, 0), 15, "an empty queue")
    counts = [consumer.stop() for consumer in consumers]
    assert sum(each["stored"] for each in counts) == len(trial.traffic.reports)
    assert all(each["stored"] > 0 for each in counts)
    trial.assert_nothing_lost(*counts)


def test_idle_consumer_takes_over_when_the_single_active_one_is_killed(trial: Trial) -> None:
    trial.amqp.declare(arguments=SINGLE_ACTIVE)
    active = trial.consume()
    active.wait_for("consuming")
    idle = trial.consume()
    idle.wait_for("consuming")
    with history_locked(trial.url):
        trial.publish(2_000, bad=3)
        wait_until(lambda: trial.amqp.counts()[1] == 1_000, 15, "the active consumer to have its hands full")
        active.process.kill()
        active.process.wait()
    counts = finish(trial, idle)
    assert counts["sessions"] == 1
    assert counts["redelivered"] == 1_000


def test_idle_consumer_of_a_single_active_queue_reconnects_ever_more_rarely(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_STALLED_AFTER_S", 0.3)
    monkeypatch.setattr(loop, "_TICK_S", 0.05)
    trial.amqp.declare(arguments=SINGLE_ACTIVE)
    active = trial.consume(prefetch="10")
    active.wait_for("consuming")
    settings = {"amqp_url": trial.amqp.url, "queue": trial.amqp.queue, "database_url": trial.url}
    idle = app.make_consumer(config.load({**settings, "reconnect_max_delay": "0.1s"}))
    thread = threading.Thread(target=idle.run)
    thread.start()
    opened_at = []
    try:
        wait_until(lambda: idle.tally.sessions, 30, "the idle consumer")
        with history_locked(trial.url):
            trial.publish(100)
            for sessions in (2, 3, 4):
                wait_until(lambda: idle.tally.sessions >= sessions, 30, "it to reconnect")  # noqa: B023
                opened_at.append(time.monotonic())
    finally:
        idle.stop()
        thread.join(15)
    assert opened_at[2] - opened_at[1] > 4 * 0.3, opened_at
    assert idle.tally.deliveries == 0
    finish(trial, active)
