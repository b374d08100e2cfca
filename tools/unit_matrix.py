"""Run the unit tests on every supported Python that this machine has, each in its own ``.venv-3.X``.

The Python that runs this has had its turn with all of the tests, and is left out.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

VERSIONS = ("3.9", "3.10", "3.11", "3.12", "3.13")
ROOT = Path(__file__).resolve().parent.parent


def candidates(version: str) -> Iterator[str]:
    """Commands that may be this Python: pyenv's, the newest first, then the PATH's."""
    if shutil.which("pyenv"):
        root = run("pyenv", "root").strip()
        names = run("pyenv", "versions", "--bare").split()
        patches = [int(name.rpartition(".")[2]) for name in names if is_release(name, version)]
        for patch in sorted(patches, reverse=True):
            yield f"{root}/versions/{version}.{patch}/bin/python{version}"
    yield f"python{version}"


def is_release(name: str, version: str) -> bool:
    series, _, patch = name.rpartition(".")
    return series == version and patch.isdigit()


def is_usable(python: str, version: str) -> bool:
    """Whether it runs (pyenv leaves commands on the PATH that do not), is that version, and can make environments."""
    probe = "import ensurepip, sys; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([python, "-c", probe], capture_output=True, text=True, check=False)
    except OSError:
        return False
    return done.returncode == 0 and done.stdout.strip() == version


def environment(version: str, python: str) -> Path:
    """The environment for a version, made or brought up to date if pyproject.toml has changed. Returns its Python."""
    folder = ROOT / f".venv-{version}"
    own = folder / "bin" / "python"
    made_from = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    stamp = folder / ".made-from"
    if stamp.exists() and stamp.read_text() == made_from and is_usable(str(own), version):
        return own
    run(python, "-m", "venv", "--clear", str(folder))
    (folder / ".gitignore").write_text("*\n")  # for git, and for ruff, which follows it
    run(str(own), "-m", "pip", "install", "--quiet", "--upgrade", "pip>=25.1")
    run(str(own), "-m", "pip", "install", "--quiet", "--editable", ".[all]", "--group", "dev")
    stamp.write_text(made_from)
    return own


def run(*command: str) -> str:
    """What a command that must succeed writes, errors included.

    Raises:
        subprocess.CalledProcessError: it failed; `stdout` has what it wrote.
    """
    env = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    return done.stdout


def check(version: str) -> tuple[str, bool, str]:
    """Run the unit tests on one version: the version, whether all is well, and what to tell."""
    python = next((command for command in candidates(version) if is_usable(command, version)), None)
    if python is None:
        return version, True, "skipped: no such interpreter here"
    try:
        # The cache of last failures is one file for all versions.
        report = run(str(environment(version, python)), "-m", "pytest", "tests/unit", "-q", "-p", "no:cacheprovider")
    except subprocess.CalledProcessError as error:
        return version, False, f"{' '.join(map(str, error.cmd))}: exit status {error.returncode}\n{error.stdout}"
    return version, True, report.strip().splitlines()[-1]


def main() -> int:
    this = f"{sys.version_info[0]}.{sys.version_info[1]}"
    others = [version for version in VERSIONS if version != this]
    failed = []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as workers:
        for version, is_well, report in workers.map(check, others):
            print(f"Python {version}: {report}", flush=True)
            if not is_well:
                failed.append(version)
    if failed:
        print(f"unit tests failed on Python {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
