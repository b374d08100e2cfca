"""The installed ``rpi-health`` command, run as a user would: another process, none of this checkout's settings."""

from __future__ import annotations

import os
import subprocess
import sysconfig
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
