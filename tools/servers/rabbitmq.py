"""A private RabbitMQ node, with an epmd (Erlang's registry of nodes) of its own: no other node sees it or is seen.

Knows no AMQP beyond the broker's greeting.
"""

from __future__ import annotations

import contextlib
import glob
import re
import secrets
import socket
from collections.abc import Sequence
from pathlib import Path

from tools.servers.certificates import Certificates, paths
from tools.servers.process import Process, ServerError, find_program, free_ports, wait_until
from tools.servers.server import Server

PACKAGE = "rabbitmq-server"


def find_script(name: str) -> Path:
    """A script of RabbitMQ's own. Those on the PATH are Debian's wrappers, which change user and HOME: the last resort.

    Raises:
        ServerMissing: RabbitMQ is not installed.
    """
    own = glob.glob("/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin")
    newest_first = sorted(own, key=lambda path: [int(number) for number in re.findall(r"\d+", path)], reverse=True)
    return find_program([name], map(Path, [*newest_first, "/usr/lib/rabbitmq/bin"]), PACKAGE)


def greets(host: str, port: int) -> bool:
    """Whether an AMQP broker answers there: it offers ``Connection.Start``. Its port may be open before."""
    try:
        with socket.create_connection((host, port), timeout=2) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(1) == b"\x01"  # a method frame
    except OSError:
        return False


class RabbitMQ(Server):
    """A RabbitMQ node with one administrator, `USERNAME`, and no plugins.

    Args:
        nodename: its Erlang name. Several nodes that share an epmd need different ones.
        cookie: Erlang's shared secret; the nodes of a cluster need the same.
        epmd_port: of another node's epmd, to be in a cluster with it; by default it starts its own.
        config: more lines for ``rabbitmq.conf``.
        advanced: more terms for ``advanced.config``.
        tls: has it listen on `tls_port` as well.
    """

    name = "RabbitMQ"
    USERNAME = "athavus"
    PASSWORD = "1234"

    def __init__(
        self,
        *,
        nodename: str = "rpi_health@localhost",
        cookie: str | None = None,
        epmd_port: int | None = None,
        config: str = "",
        advanced: Sequence[str] = (),
        tls: Certificates | None = None,
    ) -> None:
        super().__init__()
        self.nodename = nodename
        self.cookie = cookie or secrets.token_hex(16)
        self.port, self.tls_port, self._distribution_port, own_epmd_port = free_ports(4)
        self.epmd_port = epmd_port or own_epmd_port
        self._shares_epmd = epmd_port is not None
        self._epmd: Process | None = None
        self._config = config
        self._advanced = advanced
        self._tls = tls

    @property
    def url(self) -> str:
        return f"amqp://{self.USERNAME}:{self.PASSWORD}@127.0.0.1:{self.port}/%2F"

    def renew(self, tls: Certificates) -> None:
        """Show other certificates from now on, to connections that are made anew."""
        tls.write(self.folder)
        self.ctl("eval", "ssl:clear_pem_cache().")  # Erlang looks at the files every two minutes

    def start(self) -> None:
        if not self._shares_epmd:
            self._start_epmd()
        super().start()

    def kill(self) -> None:
        """SIGKILL, between two instructions, but with the queues' definitions written out.

        RabbitMQ 3.10 answers a declaration up to two seconds before its Mnesia has written it: killed in that time, it
        forgets the queue together with the messages that it has confirmed (3 of 47 queues, killed right after the first
        confirm). That is not the fault that tests mean to cause.
        """
        if self._greets():
            with contextlib.suppress(ServerError):
                self.ctl("eval", "mnesia:sync_log().", timeout_s=10)
        self._kill()

    def close(self) -> None:
        self._kill()
        if self._epmd is not None:
            self._epmd.kill()
        super().close()

    def ctl(self, *args: str, timeout_s: float = 60.0) -> str:
        """The output of ``rabbitmqctl --quiet`` with these arguments, on this node.

        Raises:
            ServerError: its exit status was not 0; the message has its output.
        """
        return self._run([find_script("rabbitmqctl"), "--quiet", *args], timeout_s=timeout_s)

    def queue_counts(self, queue: str) -> tuple[int, int]:
        """How many messages of a queue are ready, and how many are delivered and not yet acknowledged.

        Raises:
            ServerError: there is no such queue.
        """
        # Not by rabbitmqctl, which starts an Erlang machine of its own, for 0.3 s and more, each time.
        name = ",".join(map(str, queue.encode()))
        found = self._call(
            f'case rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<{name}>>)) of {{ok, Queue}} -> '
            # Where its leader is: another node of a cluster knows nothing, and says 0.
            "[{_, Ready}, {_, Held}] = rpc:call(amqqueue:qnode(Queue), rabbit_amqqueue, info, "
            "[Queue, [messages_ready, messages_unacknowledged]]), {Ready, Held}; _ -> none end"
        )
        counts = re.fullmatch(r"\{ok, \{(\d+), ?(\d+)\}\}", found.strip())
        if counts is None:
            raise ServerError(f"RabbitMQ does not tell of a queue {queue!r}: {found}")
        return int(counts[1]), int(counts[2])

    def _call(self, expression: str) -> str:
        """What the node makes of an Erlang expression."""
        call = find_program(["erl_call"], map(Path, glob.glob("/usr/lib/erlang/erts-*/bin")), PACKAGE)
        return self._run([call, "-sname", self.nodename, "-c", self.cookie, "-e"], stdin=f"{expression}.\n")

    def _create(self) -> None:
        lines = [
            f"listeners.tcp.local = 127.0.0.1:{self.port}",
            f"default_user = {self.USERNAME}",
            f"default_pass = {self.PASSWORD}",
            "default_user_tags.administrator = true",
            *(f"default_permissions.{right} = .*" for right in ("configure", "write", "read")),
            "loopback_users = none",
            # The default follows the size of the memory, and a nearly full disk would block all publishers.
            "disk_free_limit.absolute = 50MB",
            *self._tls_lines(),
            self._config,
        ]
        (self.folder / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        # Not settings of rabbitmq.conf. A quorum queue counts its messages so often, by default every 5 s.
        terms = ["{rabbit, [{quorum_tick_interval, 500}]}", *self._advanced]
        (self.folder / "advanced.config").write_text(f"[{', '.join(terms)}].\n")
        (self.folder / "enabled_plugins").write_text("[].\n")
        (self.folder / "rabbitmq-env.conf").touch()
        (self.folder / "conf.d").mkdir()
        cookie = self.folder / ".erlang.cookie"
        cookie.write_text(self.cookie)
        cookie.chmod(0o400)

    def _tls_lines(self) -> list[str]:
        if self._tls is None:
            return []
        self._tls.write(self.folder)
        ca, cert, key = paths(self.folder)
        return [
            f"listeners.ssl.local = 127.0.0.1:{self.tls_port}",
            f"ssl_options.cacertfile = {ca}",
            f"ssl_options.certfile = {cert}",
            f"ssl_options.keyfile = {key}",
            "ssl_options.verify = verify_peer",
            f"ssl_options.fail_if_no_peer_cert = {str(self._tls.wants_client).lower()}",
        ]

    def _command(self) -> Sequence[object]:
        return [find_script("rabbitmq-server")]

    def _greets(self) -> bool:
        return greets("127.0.0.1", self.port)

    def _ready(self) -> bool:
        if not self._greets():
            return False
        self.ctl("await_startup")  # the node greets some milliseconds before rabbitmqctl may ask it things
        return True

    def _env(self) -> dict[str, str]:
        loopback = "-kernel inet_dist_use_interface {127,0,0,1}"
        return {
            **super()._env(),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self.epmd_port),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_CONFIG_FILES": str(self.folder / "conf.d"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_LOGS": "-",  # the log goes to standard output, which is kept
            "RABBITMQ_NODENAME": self.nodename,
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": loopback,
            "RABBITMQ_CTL_ERL_ARGS": loopback,
        }

    def _start_epmd(self) -> None:
        """Before the node, which would start one as a daemon that outlives it. Stays up while the node is down."""
        if self._epmd is not None and self._epmd.is_running:
            return
        erts = map(Path, glob.glob("/usr/lib/erlang/erts-*/bin"))
        command = [find_program(["epmd"], erts, PACKAGE), "-address", "127.0.0.1", "-port", self.epmd_port]
        self._epmd = Process(command, env=self._env(), cwd=self.folder, log=self.folder / "epmd.log")
        wait_until(self._epmd_answers, 10, "epmd to answer")

    def _epmd_answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.epmd_port), timeout=2):
                return True
        except OSError:
            return False
