"""The private cluster that the fault tests stand on."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from tests.amqp import Amqp
from tests.conftest import serve
from tests.integration.test_tools_servers import processes_in
from tests.waiting import wait_until
from tools.servers import RabbitMQCluster, ServerError


def assert_nothing_is_left(folders: list[Path]) -> None:
    wait_until(lambda: not any(map(processes_in, folders)), 5, "the end of all processes")
    assert not any(folder.exists() for folder in folders)


def test_quorum_queue_survives_its_leader_and_close_leaves_nothing() -> None:
    with contextlib.contextmanager(serve)(RabbitMQCluster()) as cluster:
        folders = [node.folder for node in cluster.nodes]
        first = Amqp(cluster.nodes[0], "survivor")
        first.declare(arguments={"x-queue-type": "quorum"})
        assert set(cluster.members("survivor")) == set(cluster.online("survivor")) == set(cluster.nodes)
        assert cluster.leader("survivor") is first.server
        assert cluster.nodes[1].ctl("eval", "net_kernel:get_net_ticktime().").strip() == "4"

        first.server.kill()

        wait_until(lambda: first.server not in cluster.online("survivor"), 30, "the others to notice")
        assert cluster.leader("survivor") in cluster.nodes[1:]
        assert first.server in cluster.followers("survivor")
        cluster.ensure_running()
        wait_until(lambda: set(cluster.online("survivor")) == set(cluster.nodes), 30, "all members")
    assert_nothing_is_left(folders)


def test_cluster_that_cannot_start_leaves_nothing() -> None:
    cluster = RabbitMQCluster(size=2)
    folders = [node.folder for node in cluster.nodes]
    cluster.nodes[1]._config += "nonsense = 1\n"

    with pytest.raises(ServerError, match="it ended while starting"), cluster:
        pass

    assert_nothing_is_left(folders)
