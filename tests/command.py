"""The installed ``rpi-health`` command, run as a user would: another process, none of this checkout's settings."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sysconfig
import termios
from collections.abc import Mapping
from pathlib import Path

SCRIPT = Path(sysconfig.get_path("scripts"), "rpi-health")


class Cli:
    """Runs ``rpi-health`` in an empty folder that is its home, with no ``RPI_HEALTH_*`` but what a test gives."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._outputs: dict[int, Path] = {}
        self._processes: list[subprocess.Popen[str]] = []

    def __call__(
        self, *args: str, env: Mapping[str, str] | None = None, stdin: str | None = None, timeout_s: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end; its output and exit status are in the result, whatever they are."""
        return subprocess.run(
            [SCRIPT, *args],
            env=self._env(env),
            cwd=self.folder,
            input=stdin or "",
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def popen(self, *args: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start it and return. It is killed at the end of the test if it still runs; `output` has what it wrote."""
        path = self.folder / f"output-{len(self._processes)}"
        # A file: a pipe that nobody reads fills up, and then blocks the process in its logging.
        with path.open("w") as output:
            process = subprocess.Popen(
                [SCRIPT, *args],
                env=self._env(env),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self._processes.append(process)
        self._outputs[process.pid] = path
        return process

    def output(self, process: subprocess.Popen[str]) -> str:
        """All that a process started by `popen` has written so far, to standard output and error."""
        return self._outputs[process.pid].read_text()

    def close(self) -> None:
        """Kill the processes that still run."""
        for process in self._processes:
            process.kill()
            process.wait()

    def _env(self, own: Mapping[str, str] | None) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RPI_HEALTH_", "XDG_"))}
        # The settings of the user, and of the machine, are looked for below these.
        folders = {"HOME": str(self.folder), "XDG_CONFIG_DIRS": str(self.folder / "etc")}
        return {**inherited, **folders, **(own or {})}


class Terminal(Cli):
    """The installed command whose output is bytes: text mode would turn a carriage return into a line feed."""

    def output_of(self, *args: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [SCRIPT, *args],
            env=self._env(env),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )

    def on_terminal(self, *args: str, columns: int, env: Mapping[str, str] | None = None) -> str:
        """All that a terminal of this width gets. The command must end with exit status 0."""
        process, terminal = self.start_on_terminal(*args, columns=columns, lines=50, env=env)
        shown = _read_to_end(terminal)
        assert process.wait(60) == 0, shown
        return shown.decode()

    def start_on_terminal(
        self, *args: str, columns: int, lines: int, env: Mapping[str, str] | None = None
    ) -> tuple[subprocess.Popen[bytes], int]:
        """Start it on a terminal of this size. Returns the process, and our end of it, for the test to close."""
        ours, theirs = pty.openpty()
        # As from a shell on that terminal: what runs in the background may have been told to ignore Ctrl-C.
        ignored = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
            process = subprocess.Popen(
                [SCRIPT, *args], env=self._env(env), cwd=self.folder, stdin=theirs, stdout=theirs, stderr=theirs
            )
        finally:
            signal.signal(signal.SIGINT, ignored)
            os.close(theirs)
        return process, ours

    def _env(self, own: Mapping[str, str] | None) -> dict[str, str]:
        looks = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE")
        inherited = {name: value for name, value in super()._env(None).items() if name not in looks}
        return {**inherited, "TERM": "xterm-256color", "PYTHONUTF8": "1", **(own or {})}


def _read_to_end(terminal: int) -> bytes:
    shown = b""
    try:
        while chunk := os.read(terminal, 65536):
            shown += chunk
    except OSError as error:
        if error.errno != errno.EIO:  # how Linux says that nobody has the other end open any more
            raise
    finally:
        os.close(terminal)
    return shown
