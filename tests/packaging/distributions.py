"""Builds the wheel and the sdist as a release would, and reads what is in them.

Knows git, hatchling and archives; not what should be in them.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Distributions:
    """What was built from a copy of the checkout.

    Args:
        source: the copy.
        wheel: built from it.
        sdist: built from it.
    """

    source: Path
    wheel: Path
    sdist: Path

    @property
    def metadata(self) -> importlib.metadata.Distribution:
        """What the wheel tells to who installs it."""
        folder = next(name for name in wheel_files(self.wheel) if name.endswith(".dist-info/METADATA"))
        return importlib.metadata.PathDistribution(zipfile.Path(self.wheel, folder[: -len("METADATA")]))


def build(folder: Path) -> Distributions:
    """Copy the checkout, and build both distributions from the copy."""
    source, built = folder / "source", folder / "dist"
    copy_checkout(source)
    run(sys.executable, "-m", "hatchling", "build", "--directory", str(built), cwd=source)
    return Distributions(source, only(built, "*.whl"), only(built, "*.tar.gz"))


def build_wheel(source: Path, folder: Path) -> Path:
    """Build a wheel as pip does from an sdist or a folder: with just what that says that it builds with."""
    pip("wheel", "--no-deps", "--wheel-dir", str(folder), str(source))
    return only(folder, "*.whl")


def copy_checkout(target: Path) -> None:
    """Copy the files that git tracks or would add: what lies about beside them must not be needed, nor get in."""
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for name in listed.split("\0"):
        if (ROOT / name).is_file():  # git still lists what was deleted a moment ago
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)


def wheel_files(wheel: Path) -> dict[str, bytes]:
    """The content of each file, by its name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def sdist_names(sdist: Path) -> set[str]:
    """The names of the files, below the one folder that an sdist has."""
    with tarfile.open(sdist) as archive:
        return {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def pip(*args: str) -> str:
    return run(sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *args)


def run(*command: str, cwd: Path | None = None) -> str:
    """What a command that must succeed writes to standard output; where it fails, the test shows all that it wrote."""
    done = subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout
