"""Faults of a cluster of three nodes. Quorum queues lose nothing, and their delivery limit is not eaten by us.

The limit holds in every trial: a message that is returned more often is dropped by the broker, and found missing.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from rpi_health.models import DeviceHistory
from tests.amqp import PERSISTENT, Amqp
from tests.conftest import fresh_name, serve
from tests.consuming import Consuming
from tests.history_lock import history_locked
from tests.reports import count_rows
from tests.trial import RECOVERY_S, Trial
from tests.waiting import wait_until
from tools.servers import PostgreSQL, RabbitMQ, RabbitMQCluster, ServerError
from tools.servers.rabbitmq import greets

DELIVERY_LIMIT = 3
PER_SECOND = 400
#: The product looks for a silent broker this long after the last heartbeat that was due.
HEARTBEAT_S = 1


@dataclass(frozen=True)
class ClusterAmqp(Amqp):
    """A queue namespace on a cluster. What a test does to it, it does through the last of the nodes that serves.

    The first of the nodes is where consumers connect, and where they have their queues made.
    """

    cluster: RabbitMQCluster
    #: How often what was taken had been returned to its queue, and how many messages so often. A dead letter has that
    #: in its copied headers, from the queue that it came from; unless a quorum queue overwrites it with its own count.
    returned: Counter[int] = field(default_factory=Counter)

    @property
    def url(self) -> str:
        return self.cluster.urls

    @contextlib.contextmanager
    def channel(self) -> Iterator[BlockingChannel]:
        node = next((n for n in reversed(self.cluster.nodes) if n.is_running and greets("127.0.0.1", n.port)), None)
        if node is None:
            raise ConnectionError("no node serves")
        with channel_on(node) as channel:
            yield channel

    def publish(self, bodies: Iterable[bytes], *_: object) -> int:
        """Publish to the queue, which must be there. Returns how many, each of them confirmed.

        Not by transactions, which quorum queues do not promise to support.
        """
        waiting = deque(bodies)
        published = len(waiting)
        wait_until(lambda: self._publish_all(waiting), RECOVERY_S, "a leader that takes messages")
        return published

    def counts(self, queue: str | None = None) -> tuple[int, int]:
        try:
            return self.cluster.any_node().queue_counts(queue or self.queue)
        except ServerError:  # there is no leader, or the node pauses: nobody knows just now
            return -1, -1

    def get_all(self, queue: str | None = None) -> list[tuple[pika.BasicProperties, bytes]]:
        messages = super().get_all(queue)
        self.returned.update(int((properties.headers or {}).get("x-delivery-count", 0)) for properties, _ in messages)
        return messages

    def wait_online(self) -> None:
        """Wait until the queue runs on all nodes."""
        wait_until(lambda: len(self.cluster.online(self.queue)) == 3, 60, "all members of the queue")

    def _publish_all(self, waiting: deque[bytes]) -> bool:
        """Publish these, and remove from them what was confirmed. Returns whether that was all."""
        with self.channel() as channel:
            channel.confirm_delivery()
            try:
                while waiting:
                    channel.basic_publish("", self.queue, waiting[0], PERSISTENT, mandatory=True)
                    waiting.popleft()
            except pika.exceptions.NackError:
                # There is no leader, or another than this channel knows of: it would say no again and again.
                return False
        return True


@contextlib.contextmanager
def channel_on(node: RabbitMQ) -> Iterator[BlockingChannel]:
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(node.url))) as connection:
        yield connection.channel()


@pytest.fixture(scope="module")
def cluster() -> Iterator[RabbitMQCluster]:
    for running in serve(RabbitMQCluster()):
        limit = json.dumps({"delivery-limit": DELIVERY_LIMIT})
        running.nodes[0].ctl("set_policy", "--apply-to", "queues", "limit", "^limited_[0-9a-f]+$", limit)
        yield running


@pytest.fixture
def amqp(cluster: RabbitMQCluster) -> ClusterAmqp:
    """A queue name that no other test has, not yet declared, under a delivery limit. It goes with the cluster."""
    cluster.ensure_running()
    return ClusterAmqp(cluster.nodes[0], fresh_name("limited"), cluster)


@pytest.fixture
def trial(sqlite_trial: Trial) -> Trial:
    return sqlite_trial


def start_together(*nodes: RabbitMQ) -> None:
    with ThreadPoolExecutor(len(nodes)) as starters:
        list(starters.map(RabbitMQ.start, nodes))


def close_connection(amqp: ClusterAmqp) -> None:
    """Have the broker close the consumer's connection, as soon as it has one."""
    server = amqp.cluster.nodes[0]
    wait_until(lambda: server.ctl("list_connections", "pid"), 15, "a connection")
    server.ctl("close_all_connections", "a fault")


def start(trial: Trial, amqp_url: str = "", **settings: str) -> Consuming:
    """Start a consumer, and wait until it has made its queue, unless the queue was there."""
    consumer = trial.consume(amqp_url=amqp_url, queue_type="quorum", **settings)
    consumer.wait_for("consuming")
    return consumer


@contextlib.contextmanager
def streaming(trial: Trial) -> Iterator[None]:
    """Produce meanwhile; what is produced is being stored when this begins."""
    with trial.producing(PER_SECOND):
        wait_until(lambda: count_rows(trial.url, DeviceHistory) > PER_SECOND, 30, "a stream of reports")
        yield


def finish(trial: Trial, consumer: Consuming) -> dict[str, Any]:
    """Let the consumer do what is left, and judge. Returns its counts."""
    trial.wait_stored()
    wait_until(lambda: trial.amqp.counts() == (0, 0), 30, "an empty queue")
    counts = consumer.stop()
    trial.assert_nothing_lost(counts)
    return counts


def test_broker_drops_what_is_returned_more_often_than_the_limit(amqp: ClusterAmqp) -> None:
    amqp.declare(arguments={"x-queue-type": "quorum"})
    amqp.publish([b"{}"])
    counts = []
    with amqp.channel() as channel:
        while (message := channel.basic_get(amqp.queue))[0] is not None:
            counts.append((message[1].headers or {}).get("x-delivery-count", 0))
            channel.basic_reject(message[0].delivery_tag, requeue=True)
    assert counts == list(range(DELIVERY_LIMIT + 1))


def test_killed_leader_under_its_consumer_loses_nothing(trial: Trial, amqp: ClusterAmqp) -> None:
    consumer = start(trial)
    leader = amqp.cluster.leader(amqp.queue)
    assert leader is amqp.cluster.nodes[0]
    with streaming(trial):
        leader.kill()
        trial.assert_recovers()
        assert amqp.cluster.leader(amqp.queue) is not leader
        leader.start()
        amqp.wait_online()
    counts = finish(trial, consumer)
    assert counts["sessions"] == 2


def test_killed_leader_elsewhere_costs_neither_the_session_nor_a_delivery(trial: Trial, amqp: ClusterAmqp) -> None:
    amqp.declare(arguments={"x-queue-type": "quorum"})
    leader = amqp.cluster.leader(amqp.queue)
    assert leader is not amqp.cluster.nodes[0]
    consumer = start(trial)
    with streaming(trial):
        with history_locked(trial.url):
            wait_until(lambda: amqp.counts()[1] > 0, 10, "messages in hand")
            leader.kill()
        trial.assert_recovers()
        leader.start()
        amqp.wait_online()
    counts = finish(trial, consumer)
    assert (counts["sessions"], counts["redelivered"]) == (1, 0)


def test_frozen_leader_under_its_consumer_loses_nothing(trial: Trial, amqp: ClusterAmqp) -> None:
    consumer = start(trial, ",".join(f"{node.url}?heartbeat={HEARTBEAT_S}" for node in amqp.cluster.nodes))
    leader = amqp.cluster.leader(amqp.queue)
    assert leader is amqp.cluster.nodes[0]
    with streaming(trial):
        leader.freeze()
        consumer.wait_for("consuming", count=2)
        trial.assert_recovers()
        # What the frozen node's half of the dead session had in hand stays with it until the node is restarted.
        amqp.cluster.ensure_running()
        amqp.wait_online()
    counts = finish(trial, consumer)
    assert counts["sessions"] >= 2
    assert counts["redelivered"] > 0


def test_rolling_restart_while_consuming_loses_nothing(trial: Trial, amqp: ClusterAmqp) -> None:
    consumer = start(trial)
    with streaming(trial):
        for node in amqp.cluster.nodes:
            node.restart()
            amqp.wait_online()
        trial.assert_recovers()
    counts = finish(trial, consumer)
    assert 2 <= counts["sessions"] <= 4


def test_cluster_without_a_majority_is_waited_for(trial: Trial, amqp: ClusterAmqp) -> None:
    consumer = start(trial)
    first, second, third = amqp.cluster.nodes
    with streaming(trial):
        down_at = time.monotonic()
        second.kill()
        third.kill()
        # Alone, the first serves nobody.
        consumer.wait_for("retry", count=2)
        first.kill()
        consumer.wait_for("retry", count=len(consumer.events("retry")) + 2)
        # A majority, with an address left at which nobody answers.
        start_together(first, third)
        trial.assert_recovers()
        down_s = time.monotonic() - down_at
    assert len(consumer.events("retry")) < 5 * down_s
    finish(trial, consumer)


@pytest.mark.parametrize(
    "park_after",
    [
        pytest.param("3s", id="parked"),
        pytest.param("300s", id="not parked"),
    ],
)
def test_connections_lost_while_the_database_is_down_cost_one_delivery(
    postgresql_trial: Trial, amqp: ClusterAmqp, postgresql: PostgreSQL, park_after: str
) -> None:
    trial = postgresql_trial
    amqp.declare(amqp.dead_letter_queue)
    consumer = start(trial, park_after=park_after)
    postgresql.stop()
    trial.publish(5, bad=5)
    consumer.wait_for("parked" if park_after == "3s" else "database_held")
    for count in range(1, DELIVERY_LIMIT + 3):
        close_connection(amqp)
        consumer.wait_for("retry", count)
    postgresql.start()
    trial.assert_recovers()
    counts = finish(trial, consumer)
    assert counts["database_retries"] > DELIVERY_LIMIT
    assert counts["sessions"] == 2
    assert set(amqp.returned) == {1}


def test_classic_queue_whose_node_is_down_is_waited_for(trial: Trial, amqp: ClusterAmqp) -> None:
    home = amqp.cluster.nodes[-1]
    with channel_on(home) as channel:
        channel.queue_declare(amqp.queue, durable=True)
    consumer = start(trial)
    trial.publish(100, bad=1)
    home.kill()
    down_at = time.monotonic()
    late = trial.consume(startup_timeout="60s")
    consumer.wait_for("retry", count=3)
    late.wait_for("retry", count=3)
    tries = max(len(each.events("retry")) for each in (consumer, late))
    assert tries < 5 * (time.monotonic() - down_at)
    home.start()
    trial.assert_recovers()
    late.stop()
    finish(trial, consumer)
