"""rpi-health as a user has it: the wheel and its dependencies in an environment of its own, far from any checkout."""

from __future__ import annotations

import os
import subprocess
import venv
from dataclasses import dataclass
from pathlib import Path

from tests.packaging.distributions import pip


@dataclass(frozen=True)
class Installation:
    """An environment, and an empty folder to run its commands in, which is also their home.

    Args:
        environment: the folder of the environment.
        home: where commands run.
    """

    environment: Path
    home: Path

    @property
    def python(self) -> Path:
        return self.environment / "bin" / "python"

    def command(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run `rpi-health`."""
        return self.run(self.environment / "bin" / "rpi-health", *args)

    def evaluate(self, program: str) -> str:
        """What a Python program prints, which must succeed. Warnings are errors in it."""
        done = self.run(self.python, "-W", "error", "-c", program)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.strip()

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, without the settings of the machine; its output and exit status are the result."""
        return subprocess.run(
            command,
            cwd=self.home,
            env=self._env(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def _env(self) -> dict[str, str]:
        foreign = ("RPI_HEALTH_", "XDG_", "PYTHON")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        return {**inherited, "HOME": str(self.home), "XDG_CONFIG_DIRS": str(self.home / "etc")}


def install(wheel: Path, environment: Path, home: Path) -> Installation:
    """Make an environment, and install the wheel into it with what it depends on, and no extra."""
    # Its own pip would cost seconds, and be used once.
    venv.create(environment, symlinks=True)
    installation = Installation(environment, home)
    pip("--python", str(installation.python), "install", str(wheel))
    return installation
