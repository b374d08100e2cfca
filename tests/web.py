"""The web applications of `examples/` under test: real servers, what they answer, and which processes consume."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa

from rpi_health.models import ConsumerStatus, DeviceHistory
from tests.amqp import Amqp
from tests.command import Cli
from tests.pages import ROOT
from tests.reports import count_rows, rows
from tests.waiting import wait_until
from tools.servers.process import free_ports

EXAMPLES = ROOT / "examples"
_PORT_OPTION = {"flask": "--port={}", "uvicorn": "--port={}", "gunicorn": "--bind=127.0.0.1:{}"}


class Answer(NamedTuple):
    """What a server answers: the HTTP status, and the JSON."""

    status: int
    json: Any


class Web(Cli):
    """An application of `examples/`, copied into a folder of its own; at most one server at a time.

    Args:
        folder: where the copies go, and the server runs.
        amqp: the queue that is consumed.
        url: the database, which has its tables.
    """

    def __init__(self, folder: Path, amqp: Amqp, url: str) -> None:
        folder.mkdir()
        super().__init__(folder)
        shutil.copytree(EXAMPLES, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        self._amqp = amqp
        self._url = url
        self.settings = {**amqp.env, "RPI_HEALTH_DATABASE_URL": url, "PYTHONUNBUFFERED": "1"}
        self._server: subprocess.Popen[bytes] | None = None
        self._port = 0

    def serve(self, command: str, consumers: int, settings: Mapping[str, str] | None = None) -> None:
        """Start a server as a page tells to, but on a port of its own, and wait until all of it is at work."""
        name, *args = shlex.split(command)
        (self._port,) = free_ports(1)
        with (self.folder / "output").open("wb") as output:
            self._server = subprocess.Popen(
                [Path(sysconfig.get_path("scripts"), name), *args, _PORT_OPTION[name].format(self._port)],
                env=self._env({**self.settings, **(settings or {})}),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that nothing of it outlives the test
                preexec_fn=_take_ctrl_c,
            )
        self.wait(lambda: self.consumers() == consumers, f"{consumers} consumers of {command}")
        self.wait(self._answers, f"{command} to answer")

    def wait(self, condition: Callable[[], object], what: str, timeout_s: float = 60) -> None:
        """Wait for a condition; where it does not come, the test shows what the server wrote."""
        try:
            wait_until(condition, timeout_s, what)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.written}") from None

    @property
    def server(self) -> subprocess.Popen[bytes]:
        """The process that was started, which may have others below it."""
        assert self._server is not None
        return self._server

    @property
    def written(self) -> str:
        """All that the server has written so far."""
        return (self.folder / "output").read_text()

    def workers(self) -> set[int]:
        """The processes right below the server."""
        return {
            int(pid) for pid in Path(f"/proc/{self.server.pid}/task/{self.server.pid}/children").read_text().split()
        }

    def get(self, path: str) -> Answer:
        """Ask, and read the answer as strictly as a browser does."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=30) as response:
                return Answer(response.status, json.loads(response.read(), parse_constant=_refuse))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, json.loads(error.read()))

    def run(self, program: str) -> str:
        """What a Python program writes that imports the applications and must end well."""
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=self._env(self.settings),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def is_healthy(self) -> bool:
        """Whether it says so."""
        return self.get("/health") == Answer(200, {"reasons": []})

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            return bool(self.get("/health"))
        return False

    def consumers(self) -> int:
        """How many consumers the broker sees on the queue."""
        with self._amqp.channel() as channel:
            return int(channel.queue_declare(self._amqp.queue, passive=True).method.consumer_count)

    def seen(self) -> set[int]:
        """The processes whose consumers have said that they run, and not yet that they end."""
        with rows(self._url) as connection:
            return set(connection.scalars(sa.select(ConsumerStatus.pid)))

    def stored(self) -> int:
        """How many reports were stored."""
        return count_rows(self._url, DeviceHistory)

    def edit(self, name: str) -> None:
        """Change a file, as whoever works on the application does."""
        path = self.folder / name
        path.write_text(path.read_text() + "\n")

    def signal(self, number: int) -> None:
        """Send a signal to the process that was started."""
        self.server.send_signal(number)

    def stop(self) -> int:
        """Ask the server to end, and wait until it and all of its consumers have. Returns its exit status."""
        self.signal(signal.SIGTERM)
        status = self.server.wait(60)
        self.wait(lambda: self.consumers() == 0, "no consumer to be left")
        return status

    def close(self) -> None:
        """Kill what still runs of it."""
        super().close()
        if self._server is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._server.pid, signal.SIGKILL)
            self._server.wait()


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _take_ctrl_c() -> None:
    """Python leaves SIGINT alone where it is ignored, as in what a shell runs in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
