"""The life of a private server: created once in a temporary folder, then started, stopped, killed and frozen at will.

Knows no server in particular: what differs is in the subclasses.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, TypeVar

from tools.servers.process import Process, ServerError, identity, wait_until

Self = TypeVar("Self", bound="Server")


class Server:
    """A server on 127.0.0.1, alone in a temporary folder. As a context manager it starts, and leaves nothing."""

    name: ClassVar[str]
    start_timeout_s: ClassVar[float] = 120.0  # RabbitMQ needs 3 s, and on a machine with much else to do, 40 s
    stop_timeout_s: ClassVar[float] = 60.0

    def __init__(self, *, user: str | None = None) -> None:
        # Not $TMPDIR when we change user: root's may be a folder that nobody else can enter (pam_tmpdir makes it so).
        parent = "/tmp" if user else None
        self._folder = tempfile.TemporaryDirectory(prefix=f"rpi-health-{self.name.lower()}-", dir=parent)
        self._user = user
        self._process: Process | None = None
        self._created = False
        if user:
            shutil.chown(self.folder, user)

    @property
    def folder(self) -> Path:
        return Path(self._folder.name)

    @property
    def log(self) -> str:
        """All that the server has written to its standard output and error."""
        path = self.folder / "server.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.is_running

    @property
    def pid(self) -> int:
        """The id of the process that was started; its children are not counted."""
        return self._running().pid

    def start(self) -> None:
        """Start it where it left off, and return when it serves. Does nothing when it runs.

        Raises:
            ServerError: it ended, or did not serve in time and was killed.
            ServerMissing: it is not installed.
        """
        if self.is_running:
            return
        if not self._created:
            self._create()
            self._created = True
        self._process = Process(
            self._command(), env=self._env(), cwd=self.folder, log=self.folder / "server.log", user=self._user
        )
        try:
            wait_until(self._serves, self.start_timeout_s, f"{self.name} to serve")
        except TimeoutError as error:
            self._kill()
            raise self._error(str(error)) from error
        except BaseException:  # also an interrupted start leaves no process
            self._kill()
            raise

    def stop(self) -> None:
        """Stop it as its own service manager would, thawed first. Does nothing when it does not run.

        Raises:
            ServerError: it had to be killed.
        """
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Stop it gracefully and start it again, on the same ports and data."""
        self.stop()
        self.start()

    def kill(self) -> None:
        """SIGKILL, between two instructions. What it had given to the kernel to write is kept. Running or not."""
        self._kill()

    def freeze(self) -> None:
        """Stop its processes from running at all: its sockets stay open, and nothing answers."""
        self._running().freeze()

    def thaw(self) -> None:
        """Let frozen processes run on. Harmless when none is frozen, or none runs."""
        if self._process is not None:
            self._process.thaw()

    def ensure_running(self) -> None:
        """Thaw it and start it, as needed: what a test that follows a fault wants."""
        self.thaw()
        self.start()

    def close(self) -> None:
        """Kill it and remove its folder. Not gracefully: nobody will read that data."""
        self._kill()
        self._folder.cleanup()

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

    # What a subclass says.

    def _create(self) -> None:
        """Make the configuration and the empty data folder, once."""

    def _command(self) -> Sequence[object]:
        """The server's program and arguments, to run in the foreground."""
        raise NotImplementedError

    def _ready(self) -> bool:
        """Whether it serves clients now."""
        raise NotImplementedError

    def _env(self) -> dict[str, str]:
        # From scratch: RABBITMQ_*, ERL_*, PG* or MYSQL_* of the caller would lead to a server that is not ours.
        return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.folder), "LC_ALL": "C.UTF-8"}

    # What it can build on.

    def _run(
        self, command: Sequence[object], *, stdin: str = "", user: str | None = None, timeout_s: float = 120.0
    ) -> str:
        """The standard output of a program that must succeed.

        Raises:
            ServerError: it did not, or took longer than `timeout_s`.
        """
        words = [str(word) for word in command]
        try:
            done = subprocess.run(
                words,
                input=stdin,
                env=self._env(),
                cwd=self.folder,
                timeout=timeout_s,
                capture_output=True,
                text=True,
                check=False,
                **identity(user),
            )
        except subprocess.TimeoutExpired as error:
            raise ServerError(f"{' '.join(words)}: no answer in {timeout_s:g} s") from error
        if done.returncode != 0:
            raise ServerError(f"{' '.join(words)}: exit status {done.returncode}\n{done.stdout}{done.stderr}".rstrip())
        return str(done.stdout)

    def _end(self, signal_number: int) -> None:
        if self._process is None:
            return
        self.thaw()
        try:
            self._process.end(signal_number, self.stop_timeout_s)
        except TimeoutError as error:
            self._kill()
            raise self._error(str(error)) from error

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def _serves(self) -> bool:
        if not self.is_running:
            raise self._error("it ended while starting")
        return self._ready()

    def _running(self) -> Process:
        if self._process is None or not self._process.is_running:
            raise ServerError(f"{self.name} does not run")
        return self._process

    def _error(self, what: str) -> ServerError:
        tail = "\n".join(self.log.splitlines()[-20:])
        return ServerError(f"{self.name}: {what}\n{tail}".rstrip())
