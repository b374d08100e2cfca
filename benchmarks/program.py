"""A program under measurement: another process that says `consuming` and `stopped` in JSON lines.

Knows how to run, watch and end it; not what it consumes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple

from benchmarks.proc import cpu_of_process_s, peak_memory_mib

ROOT = Path(__file__).resolve().parent.parent
# It is killed when we end, however that happens.
_TETHER = ("setpriv", "--pdeathsig", "KILL")
_TAIL = 20


class ProgramFailed(Exception):
    """A program under measurement, or a helper, failed or did other than it should. The message has what it wrote."""


class Usage(NamedTuple):
    """What a program used between its lines `consuming` and `stopped`.

    Args:
        seconds: between the times in the two lines.
        cpu_s: user and system time of the process, its end included.
        peak_memory_mib: the most that was resident, ever.
        lag_s: how late the first of the lines was read. What it used of the CPU meanwhile is missing in `cpu_s`.
        counts: the line `stopped`.
    """

    seconds: float
    cpu_s: float
    peak_memory_mib: float
    lag_s: float
    counts: Mapping[str, Any]


class Program:
    """A running program. As a context manager, it is killed at the end if it still runs.

    Args:
        command: what to run.
        env: all of its environment.
        cwd: where.
        timeout_s: it is killed when it runs longer.
    """

    def __init__(self, command: Sequence[object], env: Mapping[str, str], cwd: Path, timeout_s: float) -> None:
        self._words = [str(word) for word in command]
        self._lines: list[str] = []
        self._process = subprocess.Popen(
            [*_TETHER, *self._words],
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._limit = threading.Timer(timeout_s, self._process.kill)
        self._limit.daemon = True
        self._limit.start()
        self._consuming: Mapping[str, Any] = {}
        self._stopped: Mapping[str, Any] = {}
        self._cpu_at_consuming_s = self._lag_s = 0.0
        self._peak_memory_mib = 0.0

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def consuming_at(self) -> datetime:
        """When it began to consume, by its own clock."""
        return _time(self._consuming)

    @property
    def stopped_at(self) -> datetime:
        """When it had consumed all, by its own clock."""
        return _time(self._stopped)

    def wait_until_consuming(self) -> None:
        """Return when it says `consuming`.

        Raises:
            ProgramFailed: it ended before.
        """
        for event in self._events():
            if event["event"] == "consuming":
                self._cpu_at_consuming_s = cpu_of_process_s(self.pid)
                self._consuming = event
                self._lag_s = (datetime.now(timezone.utc) - self.consuming_at).total_seconds()
                return
        self._collect()
        raise self._failure("ended before it consumed")

    def wait(self) -> Usage:
        """Return when it has ended, after `wait_until_consuming`.

        Raises:
            ProgramFailed: it took longer than `timeout_s`, ended with another status than 0, or did not say `stopped`.
        """
        for event in self._events():
            if event["event"] == "stopped":
                self._peak_memory_mib = self._peak_memory()
                self._stopped = event
        status, cpu_s = self._collect()
        if status != 0 or not self._stopped:
            raise self._failure(f"ended with status {status}")
        seconds = (self.stopped_at - self.consuming_at).total_seconds()
        used_s = cpu_s - self._cpu_at_consuming_s
        return Usage(seconds, used_s, self._peak_memory_mib, self._lag_s, self._stopped)

    def freeze(self) -> None:
        """Let it not run at all until `thaw`."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it run on."""
        self._process.send_signal(signal.SIGCONT)

    def terminate(self) -> None:
        """Ask it to end, as a service manager does."""
        self._process.terminate()

    def __enter__(self) -> Program:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process.returncode is None:
            self._process.kill()
            self._collect()

    def _events(self) -> Iterator[dict[str, Any]]:
        output: IO[str] | None = self._process.stdout
        assert output is not None
        for line in output:
            self._lines = [*self._lines[-_TAIL:], line]
            if line.startswith("{"):
                yield json.loads(line)

    def _peak_memory(self) -> float:
        try:
            return peak_memory_mib(self.pid)
        except (OSError, ProcessLookupError):
            raise self._failure("ended before its memory could be read") from None

    def _collect(self) -> tuple[int, float]:
        """Its exit status and the CPU seconds that it used in all."""
        _, status, usage = os.wait4(self.pid, 0)
        self._limit.cancel()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process.returncode = os.waitstatus_to_exitcode(status)
        return self._process.returncode, usage.ru_utime + usage.ru_stime

    def _failure(self, what: str) -> ProgramFailed:
        return ProgramFailed(f"{' '.join(self._words)}\n{what}:\n{''.join(self._lines)}".rstrip())


def run(command: Sequence[object], env: Mapping[str, str], cwd: Path, *, timeout_s: float = 600.0) -> str:
    """Run a helper to its end. Returns what it wrote to standard output.

    Raises:
        ProgramFailed: it took longer, or ended with another status than 0.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            [*_TETHER, *words],
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ProgramFailed(f"{' '.join(words)}: not done in {timeout_s:g} s") from error
    if done.returncode != 0:
        raise ProgramFailed(f"{' '.join(words)}: exit status {done.returncode}\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout


class Helper:
    """A program that helps in the background: it says one line when it is ready, and writes its result when it ends.

    As a context manager, it is killed at the end if it still runs.

    Raises:
        ProgramFailed: it ended before it was ready.
    """

    def __init__(self, command: Sequence[object], env: Mapping[str, str], cwd: Path) -> None:
        self._words = [str(word) for word in command]
        self._process = subprocess.Popen(
            [*_TETHER, *self._words],
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            self.result(timeout_s=10)

    def result(self, *, timeout_s: float) -> str:
        """Wait for its end. Returns what it has written to standard output since it was ready.

        Raises:
            ProgramFailed: it took longer, or ended with another status than 0.
        """
        try:
            output, complaint = self._process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise ProgramFailed(f"{' '.join(self._words)}: not done in {timeout_s:g} s") from error
        if self._process.returncode != 0:
            raise ProgramFailed(f"{' '.join(self._words)}: {complaint}".rstrip())
        return output

    def __enter__(self) -> Helper:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()


def _time(line: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(str(line["time"]).replace("Z", "+00:00"))
