"""A consumer under test: the installed command in a process of its own, and what it says of itself."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.command import Cli
from tests.waiting import wait_until


class Resources(NamedTuple):
    """What a process holds."""

    threads: int
    file_descriptors: int
    memory_mib: float


#: Also those that are repeated too often to be of interest to anybody but a test.
EVERY_LINE = {"RPI_HEALTH_LOG_FORMAT": "json", "RPI_HEALTH_LOG_LEVEL": "debug"}


class Consuming:
    """`rpi-health consume` with a log of JSON lines.

    Args:
        cli: starts it, and kills it at the end of the test.
        env: the settings that it gets.
    """

    def __init__(self, cli: Cli, env: Mapping[str, str], *args: str) -> None:
        self._cli = cli
        self.process: subprocess.Popen[str] = cli.popen("consume", *args, env={**EVERY_LINE, **env})

    @property
    def output(self) -> str:
        """All that it has written so far."""
        return self._cli.output(self.process)

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log lines of one event, oldest first."""
        lines = [json.loads(line) for line in self.output.splitlines() if line.startswith("{") and line.endswith("}")]
        return [line for line in lines if line["event"] == name]

    def wait_for(self, event: str, count: int = 1, timeout_s: float = 30) -> dict[str, Any]:
        """Wait until an event was logged so many times. Returns its last line."""
        wait_until(lambda: len(self.events(event)) >= count or self.process.poll() is not None, timeout_s, event)
        found = self.events(event)
        assert len(found) >= count, self.output
        return found[-1]

    def wait_until_holding(self) -> None:
        """Wait until it has said that it could not store a batch: that one stays in its hands, whatever comes then."""
        self.wait_for("database_held")

    def wait_until_held(self, says: str) -> None:
        """Wait until it has said that it holds the messages, and that this is why."""
        wait_until(lambda: any(says in line["error"] for line in self.events("database_held")), 30, says)

    def resources(self) -> Resources:
        """What it holds just now; its memory is what is resident."""
        process = Path("/proc", str(self.process.pid))
        (resident,) = re.findall(r"VmRSS:\s+(\d+) kB", (process / "status").read_text())
        threads, descriptors = (len(list((process / name).iterdir())) for name in ("task", "fd"))
        return Resources(threads, descriptors, int(resident) / 1024)

    def stop(self) -> dict[str, Any]:
        """Stop it as a service manager does; it must end in good order. Returns its counts."""
        assert self.process.poll() is None, self.output
        # One that has only just been started would not know the signal yet.
        wait_until(self._catches_sigterm, 30, "the consumer to take signals")
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(20) == 0, self.output
        return self.counts()

    def _catches_sigterm(self) -> bool:
        (caught,) = re.findall(r"SigCgt:\s+([0-9a-f]+)", Path(f"/proc/{self.process.pid}/status").read_text())
        return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)

    def counts(self) -> dict[str, Any]:
        """The counts with which it ended."""
        return self.events("stopped")[-1]
