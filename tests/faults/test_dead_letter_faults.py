"""Dead letters that cannot be published: the bad message stays in its queue, the good ones flow, and it is loud."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.amqp import Amqp
from tests.consuming import Consuming
from tests.trial import Trial
from tests.waiting import wait_until
from tools.servers import RabbitMQ

ONE_AT_MOST = {"x-max-length": 1, "x-overflow": "reject-publish"}
FILLER = b"filler"


@pytest.fixture
def trial(sqlite_trial: Trial) -> Trial:
    return sqlite_trial


@contextlib.contextmanager
def memory_alarm(server: RabbitMQ) -> Iterator[None]:
    server.ctl("set_vm_memory_high_watermark", "absolute", "1MB")
    try:
        yield
    finally:
        server.ctl("set_vm_memory_high_watermark", "0.4")


@contextlib.contextmanager
def disk_alarm(server: RabbitMQ) -> Iterator[None]:
    server.ctl("set_disk_free_limit", str(10**15))
    try:
        yield
    finally:
        server.ctl("set_disk_free_limit", "50MB")


def wait_for_all_but(trial: Trial, bad: int) -> None:
    """Wait until all but so many bad messages are stored and acked."""
    trial.wait_stored()
    wait_until(lambda: trial.amqp.counts() == (0, bad), 20, "all but the bad messages to be acked")


def finish(trial: Trial, consumer: Consuming) -> dict[str, Any]:
    """The fault is over: see that all is stored or dead-lettered. Returns the counts of the consumer."""
    trial.assert_recovers()
    wait_until(lambda: trial.amqp.counts() == (0, 0), 20, "the dead letters")
    counts = trial.finish(consumer)
    assert counts["sessions"] == 1
    return counts


def fill_up(amqp: Amqp) -> None:
    """Declare a dead-letter queue that takes no more."""
    amqp.declare(amqp.dead_letter_queue, arguments=ONE_AT_MOST)
    amqp.publish([FILLER], queue=amqp.dead_letter_queue)


def take_filler(amqp: Amqp) -> None:
    assert [body for _, body in amqp.get_all(amqp.dead_letter_queue)] == [FILLER]


@pytest.mark.parametrize("alarm", [memory_alarm, disk_alarm])
def test_alarm_stops_dead_letters_but_neither_consuming_nor_acks(trial: Trial, alarm: Any) -> None:
    trial.publish(3_000, bad=2)
    with alarm(trial.amqp.server):
        consumer = trial.consume()
        wait_for_all_but(trial, 2)
        if alarm is memory_alarm:
            # A publisher that is kept waiting gives up after ten seconds, and says so.
            consumer.wait_for("dead_letters_held", timeout_s=20)
        assert consumer.events("dead_lettered") == []
    counts = finish(trial, consumer)
    assert counts["dead_lettered"] == 2
    assert counts["dead_letter_retries"] >= (alarm is memory_alarm)


def test_full_dead_letter_queue_keeps_the_bad_message_and_lets_the_good_ones_flow(trial: Trial) -> None:
    fill_up(trial.amqp)
    consumer = trial.consume()
    trial.publish(1_000, bad=1)
    assert "is full" in consumer.wait_for("dead_letters_held")["error"]
    trial.publish(1_000)
    wait_for_all_but(trial, 1)
    take_filler(trial.amqp)
    counts = finish(trial, consumer)
    assert counts["dead_letter_retries"] >= 1


def test_deleted_dead_letter_queue_is_declared_again(trial: Trial) -> None:
    trial.amqp.declare(trial.amqp.dead_letter_queue)
    consumer = trial.consume()
    consumer.wait_for("consuming")
    with trial.amqp.channel() as channel:
        channel.queue_delete(trial.amqp.dead_letter_queue)
    trial.publish(100, bad=3)
    counts = finish(trial, consumer)
    assert (counts["dead_lettered"], counts["dead_letter_retries"]) == (3, 0)


def test_dead_letter_queue_deleted_during_a_publish_costs_no_message(trial: Trial) -> None:
    trial.publish(100, bad=3)
    # The alarm keeps what the consumer publishes in the socket, behind its look for the queue.
    with memory_alarm(trial.amqp.server):
        consumer = trial.consume()
        wait_for_all_but(trial, 3)
        wait_until(lambda: is_blocked(trial.amqp.server), 10, "the publisher to be kept waiting")
        with trial.amqp.channel() as channel:
            channel.queue_delete(trial.amqp.dead_letter_queue)
    message = consumer.wait_for("dead_letters_held")["error"]
    assert "was deleted while messages were published to it" in message
    counts = finish(trial, consumer)
    assert counts["dead_letter_retries"] == 1


def is_blocked(server: RabbitMQ) -> bool:
    """Whether the broker keeps a publisher waiting."""
    return "blocked" in server.ctl("list_connections", "state").split()


def test_missing_dead_letter_queue_that_the_user_may_not_declare_is_waited_for(trial: Trial) -> None:
    server = trial.amqp.server
    server.ctl("add_user", "limited", "s3cret-canary")
    try:
        server.ctl("set_permissions", "limited", "^$", ".*", ".*")
        trial.publish(1_000, bad=1)
        consumer = trial.consume(amqp_url=f"amqp://limited:s3cret-canary@127.0.0.1:{server.port}/%2F")
        message = consumer.wait_for("dead_letters_held", count=2)["error"]
        assert all(word in message for word in ("refused access", "permission", trial.amqp.dead_letter_queue))
        wait_for_all_but(trial, 1)
        trial.amqp.declare(trial.amqp.dead_letter_queue)
        counts = finish(trial, consumer)
        assert counts["dead_letter_retries"] >= 2
    finally:
        server.ctl("delete_user", "limited")


def test_stopping_while_dead_letters_are_held_tries_once_more_and_ends(trial: Trial) -> None:
    fill_up(trial.amqp)
    trial.publish(bad=1, count=0)
    consumer = trial.consume()
    consumer.wait_for("dead_letters_held")
    tries = len(consumer.events("dead_letters_held"))
    counts = consumer.stop()
    assert counts["dead_lettered"] == 0
    # One that was under way, and the last one.
    assert counts["dead_letter_retries"] <= tries + 2
    assert trial.amqp.counts() == (1, 0)
    take_filler(trial.amqp)
    successor = trial.consume()
    trial.assert_recovers()
    successor.wait_for("dead_lettered")
    trial.assert_nothing_lost(counts, successor.stop())
