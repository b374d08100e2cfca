"""A private RabbitMQ cluster: nodes that share a cookie and an epmd, each a `RabbitMQ` of its own. Knows no AMQP."""

from __future__ import annotations

import contextlib
import json
import secrets
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

from tools.servers.process import ServerError, wait_until
from tools.servers.rabbitmq import RabbitMQ, greets

Self = TypeVar("Self", bound="RabbitMQCluster")

_ELECTION_TIMEOUT_S = 30
_REUNION_TIMEOUT_S = 10
# The others join the first when they are started for the first time; a node that cannot see most of them stands still.
_CONFIG = """
cluster_partition_handling = pause_minority
cluster_formation.peer_discovery_backend = classic_config
cluster_formation.classic_config.nodes.1 = {first}
"""


class _Node(RabbitMQ):
    """A node of a cluster, which takes another for dead when nothing is heard of it for `net_ticktime_s`."""

    def __init__(self, name: str, net_ticktime_s: int, first: RabbitMQ | None, cookie: str) -> None:
        super().__init__(
            nodename=f"{name}@localhost",
            cookie=cookie,
            epmd_port=first.epmd_port if first else None,
            config=_CONFIG.format(first=first.nodename if first else f"{name}@localhost"),
            # RabbitMQ starts Erlang's distribution itself, after it has read this.
            advanced=[f"{{kernel, [{{net_ticktime, {net_ticktime_s}}}]}}"],
        )


class RabbitMQCluster:
    """Nodes that are joined. As a context manager it starts, and leaves nothing.

    Args:
        size: how many nodes.
        net_ticktime_s: how long a node may be silent, give or take a quarter, before the others take it for dead.
    """

    def __init__(self, size: int = 3, net_ticktime_s: int = 4) -> None:
        cookie = secrets.token_hex(16)
        first = _Node("node1", net_ticktime_s, None, cookie)
        others = [_Node(f"node{number}", net_ticktime_s, first, cookie) for number in range(2, size + 1)]
        #: The nodes. Each may be stopped, killed, frozen and started as any server.
        self.nodes: list[RabbitMQ] = [first, *others]
        self._is_formed = False

    @property
    def urls(self) -> str:
        """The nodes' URLs, separated by commas."""
        return ",".join(node.url for node in self.nodes)

    def start(self) -> None:
        """Start the nodes that do not run, and return when each sees all the others.

        Raises:
            ServerError: a node did not start, or did not join.
            ServerMissing: RabbitMQ is not installed.
        """
        self._start_nodes()
        self.wait_whole()

    def ensure_running(self) -> None:
        """Thaw and start the nodes, as needed, and have them find each other again.

        A node that was cut off has to pause itself until it sees most of the others. RabbitMQ 3.10 misses that where
        they are back at once, as after a thaw: its quorum queues are whole, but its tables stay apart until somebody
        restarts it.
        """
        for node in self.nodes:
            node.thaw()
        self._start_nodes()
        with contextlib.suppress(ServerError):
            self.wait_whole(_REUNION_TIMEOUT_S)
            return
        for node in [node for node in self.nodes if 2 * len(_running_nodes(node)) <= len(self.nodes)] or self.nodes:
            node.restart()
        self.wait_whole()

    def wait_whole(self, timeout_s: float = 60) -> None:
        """Wait until every node sees all nodes.

        Raises:
            ServerError: they do not in time.
        """
        try:
            wait_until(self._is_whole, timeout_s, "all nodes to see each other")
        except TimeoutError as error:
            raise ServerError(f"RabbitMQ cluster: {error}") from error

    def any_node(self) -> RabbitMQ:
        """A node that serves clients.

        Raises:
            ServerError: there is none.
        """
        serving = next((node for node in self.nodes if node.is_running and greets("127.0.0.1", node.port)), None)
        if serving is None:
            raise ServerError("RabbitMQ cluster: no node serves")
        return serving

    def leader(self, queue: str) -> RabbitMQ:
        """The node of a quorum queue's leader, or of a classic queue. Waits until there is one.

        Raises:
            TimeoutError: there is none for long.
        """
        name = wait_until(lambda: str(self._info(queue).get("leader", "")), _ELECTION_TIMEOUT_S, f"a leader of {queue}")
        return self._node(name)

    def followers(self, queue: str) -> list[RabbitMQ]:
        """The nodes that have a quorum queue, but for its leader's."""
        leader = self.leader(queue)
        return [node for node in self.members(queue) if node is not leader]

    def members(self, queue: str) -> list[RabbitMQ]:
        """The nodes that have a quorum queue, running or not."""
        return [self._node(name) for name in self._info(queue).get("members") or []]

    def online(self, queue: str) -> list[RabbitMQ]:
        """The nodes on which a quorum queue runs."""
        return [self._node(name) for name in self._info(queue).get("online") or []]

    def close(self) -> None:
        """Kill the nodes and remove their folders; the first one last, whose epmd the others use."""
        for node in reversed(self.nodes):
            node.close()

    def __enter__(self: Self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _start_nodes(self) -> None:
        """All at a time: a node that was not the last to stop waits for those that stopped after it."""
        if not self._is_formed:
            self.nodes[0].start()  # there must be a node to join, and an epmd
        with ThreadPoolExecutor(len(self.nodes)) as starters:
            list(starters.map(RabbitMQ.start, self.nodes))
        self._is_formed = True

    def _is_whole(self) -> bool:
        names = {node.nodename for node in self.nodes}
        return all(set(_running_nodes(node)) == names for node in self.nodes)

    def _info(self, queue: str) -> dict[str, Any]:
        """What a node says of a queue; nothing while the queue has no leader that answers, or the node pauses."""
        columns = ["name", "leader", "members", "online"]
        try:
            found = json.loads(self.any_node().ctl("list_queues", "--formatter", "json", *columns))
        except ServerError:
            return {}
        return next((each for each in found if each["name"] == queue), {})

    def _node(self, name: str) -> RabbitMQ:
        return next(node for node in self.nodes if node.nodename == name)


def _running_nodes(node: RabbitMQ) -> list[str]:
    """The nodes that a node sees; none while it serves nobody."""
    try:
        return list(json.loads(node.ctl("cluster_status", "--formatter", "json"))["running_nodes"])
    except ServerError:
        return []
