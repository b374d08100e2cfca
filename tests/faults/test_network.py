"""Between consumer and broker, the network eats packets, cuts frames in two and resets: nothing is lost."""

from __future__ import annotations

import contextlib
import random
import re
import time
from collections.abc import Callable

import pika
import pytest
from pika import frame, spec

from tests.consuming import Consuming, Resources
from tests.history_lock import history_locked
from tests.proxy import Mode, Proxy
from tests.traffic import Traffic
from tests.trial import Trial
from tests.waiting import wait_until

HEARTBEAT_S = 2
#: How soon after the last word of the broker its silence must be noticed.
NOTICED_S = HEARTBEAT_S + 10
AT_ONCE = {"reconnect_max_delay": "0.1s"}
SEED = 20
CUTS = 30
FLAT_MIB = 3


@pytest.fixture
def trial(sqlite_trial: Trial) -> Trial:
    return sqlite_trial


def start(trial: Trial, proxy: Proxy, settings: dict[str, str] = AT_ONCE, **query: object) -> Consuming:
    """Start a consumer behind the proxy, and wait until it consumes."""
    consumer = trial.consume(amqp_url=trial.amqp.url_by(proxy.port, **query), **settings)
    consumer.wait_for("consuming")
    return consumer


def hold_some(trial: Trial, count: int = 300) -> None:
    """Publish messages, and wait until they are in the hands of the consumer. To be called while it cannot store."""
    trial.publish(count)
    wait_until(lambda: trial.amqp.counts() == (0, count), 15, "the messages to be delivered")


def size_of_login(trial: Trial, proxy: Proxy) -> int:
    """How many bytes the broker sends before a connection is open."""
    before = proxy.passed
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(trial.amqp.url_by(proxy.port)))):
        return proxy.passed - before


@pytest.mark.parametrize("mode", [Mode.STALL, Mode.BLACKHOLE, Mode.DROP_CLIENT])
def test_half_open_connection_is_noticed_and_replaced(
    trial: Trial, proxy: Proxy, mode: Mode, record_property: Callable[[str, object], None]
) -> None:
    consumer = start(trial, proxy, {}, heartbeat=HEARTBEAT_S, stack_timeout=1)
    with history_locked(trial.url):
        hold_some(trial)
        proxy.mode = mode
    silent_since = time.monotonic()
    consumer.wait_for("retry", timeout_s=NOTICED_S)
    record_property("noticed_s", round(time.monotonic() - silent_since, 1))
    # What accepts connections and says nothing is no busy loop: one connection for each attempt that was logged.
    consumer.wait_for("retry", count=3)
    assert proxy.connections <= len(consumer.events("retry")) + 1
    proxy.mode = Mode.PASS
    trial.assert_recovers()
    trial.wait_stored()
    counts = consumer.stop()
    assert counts["sessions"] == 2
    # All was stored, and no ack arrived.
    assert counts["redelivered"] >= 300
    trial.assert_nothing_lost(counts)


def test_silence_while_a_session_is_opened_is_noticed_as_soon(
    trial: Trial, proxy: Proxy, record_property: Callable[[str, object], None]
) -> None:
    consumer = start(trial, proxy, heartbeat=HEARTBEAT_S)
    # Long enough for the answers about a channel, too short for that about the queue.
    proxy.silence_new_after([size_of_login(trial, proxy) + 20])
    proxy.reset()
    silent_since = time.monotonic()
    consumer.wait_for("retry", count=2, timeout_s=NOTICED_S)
    record_property("noticed_s", round(time.monotonic() - silent_since, 1))
    trial.assert_recovers()
    counts = consumer.stop()
    assert counts["sessions"] == 2
    trial.assert_nothing_lost(counts)


def test_connection_that_is_lost_in_its_login_refuses_nobody(trial: Trial, proxy: Proxy) -> None:
    # A login is the broker's greeting, its tuning (20 bytes), and its yes to the virtual host (13).
    login = size_of_login(trial, proxy)
    proxy.cut_new_after([0, login - 33, login - 13])
    consumer = trial.consume(amqp_url=trial.amqp.url_by(proxy.port), **AT_ONCE)
    consumer.wait_for("consuming")
    assert proxy.connections == 1 + 4
    said = [retry["error"] for retry in consumer.events("retry")]
    assert [re.search(r"broke off (.+?):", each)[1] for each in said if "broke off" in each] == [  # type: ignore[index]
        "before it said anything in AMQP",
        "while it checked the login",
        "while it opened the virtual host",
    ]
    assert not any("refused" in each for each in said)
    trial.assert_recovers()
    trial.assert_nothing_lost(consumer.stop())


def test_lost_acks_have_the_messages_delivered_again_and_change_nothing(trial: Trial, proxy: Proxy) -> None:
    consumer = start(trial, proxy)
    proxy.mode = Mode.DROP_CLIENT
    trial.publish(300)
    trial.wait_stored()
    # In this order: an ack that comes late would pass.
    proxy.reset()
    proxy.mode = Mode.PASS
    trial.assert_recovers()
    wait_until(lambda: trial.amqp.counts() == (0, 0), 15, "the messages to be acked")
    counts = consumer.stop()
    assert (counts["sessions"], counts["redelivered"], counts["stored"]) == (2, 300, 601)
    trial.assert_nothing_lost(counts)


def test_reset_just_after_an_ack_loses_nothing(trial: Trial, proxy: Proxy) -> None:
    consumer = start(trial, proxy)
    for turn in range(10):
        proxy.reset_when_client_speaks()
        trial.publish(50, bad=1)
        consumer.wait_for("consuming", count=turn + 2)
    trial.assert_recovers()
    trial.wait_stored()
    wait_until(lambda: trial.amqp.counts() == (0, 0), 15, "an empty queue")
    counts = consumer.stop()
    assert counts["sessions"] == 11
    # After each reset, what came on that session and was not settled.
    assert counts["redelivered"] > 0
    trial.assert_nothing_lost(counts)


def cuts_within(queue: str, body: bytes) -> list[int]:
    """Places to cut a delivery at: within the head of each of its frames, within its payload, and at its last byte."""
    deliver = spec.Basic.Deliver("rpi-health-" + "0" * 16, 1, False, "", queue)
    properties = pika.BasicProperties(delivery_mode=2)
    frames = [frame.Method(1, deliver), frame.Header(1, len(body), properties), frame.Body(1, body)]
    cuts, start = [], 0
    for size in (len(each.marshal()) for each in frames):
        cuts += [start + 1, start + 5, start + 9, start + size // 2, start + size - 1]
        start += size
    return cuts


def test_connection_cut_within_a_delivery_never_gives_half_a_message(trial: Trial, proxy: Proxy) -> None:
    consumer = start(trial, proxy)
    (body,) = Traffic().make_reports(1)
    cuts = cuts_within(trial.amqp.queue, body)
    for turn, cut in enumerate(cuts):
        proxy.cut_after(cut)
        trial.publish(1)
        consumer.wait_for("consuming", count=turn + 2)
        trial.wait_stored()
    trial.assert_recovers()
    counts = consumer.stop()
    assert (counts["sessions"], counts["redelivered"]) == (len(cuts) + 1, len(cuts))
    trial.assert_nothing_lost(counts)


def test_connections_cut_anywhere_one_after_the_other_lose_nothing(trial: Trial, proxy: Proxy) -> None:
    consumer = start(trial, proxy)
    # The first 700 bytes or so come before a delivery: as many cuts are before that as behind it.
    sizes = random.Random(SEED)
    proxy.cut_new_after([int(10 ** sizes.uniform(1.5, 5)) for _ in range(CUTS)])
    proxy.reset()
    trial.publish(3_000)
    wait_until(lambda: proxy.has_cut_all, 30, "the last cut")
    trial.assert_recovers()
    trial.wait_stored()
    counts = consumer.stop()
    assert proxy.connections == CUTS + 2
    assert 2 < counts["sessions"] < CUTS + 2
    assert counts["redelivered"] > 0
    trial.assert_nothing_lost(counts)


def test_dead_letters_whose_connections_are_cut_anywhere_are_all_published(trial: Trial, proxy: Proxy) -> None:
    size = size_of_login(trial, proxy)
    consumer = start(trial, proxy)
    # From now on, all new connections are those of the publisher. Confirms begin 100 bytes or so behind the login.
    sizes = random.Random(SEED)
    proxy.cut_new_after([size + sizes.randrange(-100, 250) for _ in range(CUTS)])
    trial.publish(count=0, bad=200)
    consumer.wait_for("dead_letters_held")
    trial.assert_recovers()
    wait_until(lambda: trial.amqp.counts() == (0, 0), 30, "the dead letters")
    counts = consumer.stop()
    assert (counts["sessions"], counts["dead_lettered"]) == (1, 200)
    assert counts["dead_letter_retries"] > 1
    trial.assert_nothing_lost(counts)


def test_second_address_is_used_when_the_first_dies(trial: Trial, proxy: Proxy) -> None:
    consumer = trial.consume(amqp_url=f"{trial.amqp.url_by(proxy.port)},{trial.amqp.url}")
    assert f":{proxy.port}/" in consumer.wait_for("consuming")["broker"]
    trial.wait_seen()
    with history_locked(trial.url):
        hold_some(trial)
        proxy.close()
        assert f":{trial.amqp.server.port}/" in consumer.wait_for("consuming", count=2)["broker"]
    trial.assert_recovers()
    trial.wait_stored()
    counts = consumer.stop()
    assert counts["sessions"] == 2
    assert counts["redelivered"] >= 300
    assert counts["stale_acks"] > 0
    trial.assert_nothing_lost(counts)


def test_second_address_is_used_where_the_first_never_answers(trial: Trial, proxy: Proxy) -> None:
    proxy.close()
    trial.publish(10)
    consumer = trial.consume("--until-empty", amqp_url=f"{trial.amqp.url_by(proxy.port)},{trial.amqp.url}")
    assert consumer.process.wait(20) == 0, consumer.output
    trial.assert_nothing_lost(consumer.counts())


def assert_flat(early: Resources, late: Resources) -> None:
    """Nothing was left behind meanwhile; Python's allocator may keep a little."""
    assert (late.threads, late.file_descriptors) == (early.threads, early.file_descriptors)
    assert late.memory_mib - early.memory_mib < FLAT_MIB, (early, late)


def reconnect(consumer: Consuming, proxy: Proxy, times: int) -> None:
    sessions = len(consumer.events("consuming"))
    for turn in range(times):
        proxy.reset()
        consumer.wait_for("consuming", count=sessions + turn + 1)


def test_reconnecting_while_the_database_is_held_keeps_no_messages_of_lost_sessions(trial: Trial, proxy: Proxy) -> None:
    consumer = start(trial, proxy, {**AT_ONCE, "prefetch": "2000"})
    trial.wait_seen()
    with history_locked(trial.url):
        hold_some(trial, 2_000)
        reconnect(consumer, proxy, 5)
        wait_until(lambda: trial.amqp.counts() == (0, 2_000), 15, "all messages to be delivered again")
        before = consumer.resources()
        reconnect(consumer, proxy, 15)
        wait_until(lambda: trial.amqp.counts() == (0, 2_000), 15, "all messages to be delivered again")
        after = consumer.resources()
    assert_flat(before, after)
    trial.assert_recovers()
    trial.wait_stored()
    counts = consumer.stop()
    assert counts["sessions"] == 21
    assert counts["redelivered"] >= 2 * 2_000
    assert counts["stale_acks"] > 0
    trial.assert_nothing_lost(counts)


def test_fifty_reconnects_leave_no_threads_descriptors_or_memory_behind(trial: Trial, proxy: Proxy) -> None:
    consumer = start(trial, proxy)
    measured = []
    for times in (10, 40):
        for _ in range(times // 5):
            trial.publish(20, bad=1)
            reconnect(consumer, proxy, 5)
        trial.wait_stored()
        wait_until(lambda: trial.amqp.counts() == (0, 0), 15, "an empty queue")
        measured.append(consumer.resources())
    assert_flat(*measured)
    trial.assert_recovers()
    counts = consumer.stop()
    assert counts["sessions"] == 51
    trial.assert_nothing_lost(counts)


def test_fifty_attempts_in_vain_leave_no_threads_descriptors_or_memory_behind(trial: Trial, proxy: Proxy) -> None:
    login = size_of_login(trial, proxy)
    consumer = start(trial, proxy)
    measured = []
    for attempts in (10, 40):
        proxy.cut_new_after([0, login - 1] * (attempts // 2))
        reconnect(consumer, proxy, 1)
        measured.append(consumer.resources())
    assert_flat(*measured)
    trial.assert_recovers()
    counts = consumer.stop()
    assert (counts["retries"], counts["sessions"]) == (2 + 50, 3)
    trial.assert_nothing_lost(counts)
