"""One server process of our own: where to find its program, which ports it may take, how to signal it and all of its
children, and how it is certain to end with us. Knows nothing of what the server serves.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

# A process that only waits for our end of a pipe to close, which the kernel does even when we are killed, and then
# kills its process group: the server's. It is forked twice so that the server does not find an unknown child of its
# own, and stays in the server's group, whose id therefore cannot pass to a process that is not ours.
_WITH_LIFELINE = 'exec 3<&0; ( { read -r line <&3; kill -KILL 0; } & ); exec 3<&-; exec "$@" </dev/null'


class ServerError(RuntimeError):
    """A server did not start, stop or answer as it should. The message ends with the last lines of its log."""


class ServerMissing(ServerError):
    """A server's program is not installed. The message names the package."""

    def __init__(self, program: str, package: str) -> None:
        super().__init__(f"{program} is not installed. On Debian or Ubuntu: apt-get install {package}")
        self.package = package


def find_program(names: Sequence[str], folders: Iterable[Path], package: str) -> Path:
    """The first of `names` in the first of `folders`, then on the PATH.

    Raises:
        ServerMissing: there is none.
    """
    # /usr/sbin is not on an ordinary user's PATH on Debian; mariadbd lives there.
    search_path = os.pathsep.join([*map(str, folders), os.environ.get("PATH", os.defpath), "/usr/sbin"])
    for name in names:
        found = shutil.which(name, path=search_path)
        if found:
            return Path(found)
    raise ServerMissing(names[0], package)


def free_ports(count: int) -> list[int]:
    """Distinct TCP ports of 127.0.0.1 on which nothing listens, below the range that the system gives to clients.

    A port from that range may be taken, while its server is down, by any outgoing connection: a client that keeps
    trying to reconnect to it can even be given the very port as its own, and connect to itself.
    """
    with contextlib.ExitStack() as held:
        ports: list[int] = []
        while len(ports) < count:
            candidate = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                candidate.bind(("127.0.0.1", random.randint(15_000, 31_999)))
                ports.append(candidate.getsockname()[1])
        return ports


def wait_until(condition: Callable[[], T], timeout_s: float, what: str) -> T:
    """Ask `condition` until it says something true, and return that.

    Raises:
        TimeoutError: it did not within `timeout_s` seconds; the message says `what` was waited for.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s:g} s in vain for {what}")
        time.sleep(0.02)


def unprivileged_user(*preferred: str) -> str | None:
    """When we are root, which database servers refuse to be: the first of `preferred` that exists, else ``nobody``."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in preferred if name in known), "nobody")


def identity(user: str | None) -> dict[str, Any]:
    """The arguments that make `subprocess` run a program as `user`, without our own groups. None: as we are."""
    if user is None:
        return {}
    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _stat(pid: str) -> tuple[str, int]:
    """The state letter and the parent of a process; ``("Z", 0)`` when it is gone."""
    try:
        fields = Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "Z", 0
    return fields[0], int(fields[1])


def _children(parent: int) -> list[int]:
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _stat(entry.name)[1] == parent]


def _signal(pids: Iterable[int], signal_number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal_number)


class Process:
    """A running program of ours, in a session of its own, with its output appended to `log`.

    It dies with us, however we end.
    """

    def __init__(
        self, command: Sequence[object], *, env: Mapping[str, str], cwd: Path, log: Path, user: str | None = None
    ) -> None:
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                ["/bin/sh", "-c", _WITH_LIFELINE, "sh", *map(str, command)],
                stdin=subprocess.PIPE,  # the lifeline
                stdout=output,
                stderr=output,
                env=env,
                cwd=cwd,
                start_new_session=True,
                **identity(user),
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def is_running(self) -> bool:
        return self._popen.poll() is None

    def end(self, signal_number: int, timeout_s: float) -> None:
        """Send a signal that asks it to end, and wait until it has.

        Raises:
            TimeoutError: it still runs.
        """
        if self.is_running:
            self._popen.send_signal(signal_number)
        try:
            self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"still running {timeout_s:g} s after {signal.Signals(signal_number).name}") from error
        self._let_go()

    def freeze(self) -> list[int]:
        """SIGSTOP to the process and all that descend from it; returns their ids.

        From the top down: a stopped parent neither starts nor reaps children, so that no id on the list can pass to a
        stranger. Not by process group: PostgreSQL's backends have sessions of their own.
        """
        frozen: list[int] = []
        unvisited = [self.pid] if self.is_running else []
        while unvisited:
            pid = unvisited.pop()
            _signal([pid], signal.SIGSTOP)
            frozen.append(pid)
            unvisited += _children(pid)
        return frozen

    def thaw(self) -> None:
        """SIGCONT to the process and all that descend from it. Harmless where nothing is frozen."""
        _signal(reversed(self._tree()), signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL to the process and all that descend from it, at one moment; returns when they are gone."""
        pids = self.freeze()
        _signal(pids, signal.SIGKILL)
        self._popen.wait()
        wait_until(lambda: all(_stat(str(pid))[0] == "Z" for pid in pids), 10, f"the end of {pids}")
        self._let_go()

    def _tree(self) -> list[int]:
        pids = [self.pid] if self.is_running else []
        for pid in pids:  # grows as it goes
            pids += _children(pid)
        return pids

    def _let_go(self) -> None:
        assert self._popen.stdin is not None
        self._popen.stdin.close()
