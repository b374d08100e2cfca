"""On what the measurements were made: without it, nobody can judge them."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import sqlite3
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.stage import Stage

_LIBRARIES = ("rpi-health", "pika", "SQLAlchemy", "psycopg", "PyMySQL", "faststream", "asyncpg", "pydantic")
_SYNCS = 50
_PAGE = b"\0" * 8192


def describe(stage: Stage) -> dict[str, Any]:
    """Processor, memory, disk and versions; without anything that names the machine."""
    return {
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _match(r"model name\s*:\s*(.+)", "/proc/cpuinfo"),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": int(_match(r"MemTotal:\s+(\d+)", "/proc/meminfo") or 0) // 1024,
        "load_before": os.getloadavg()[0],
        "file_system": file_system(stage.folder),
        "sync_ms": sync_ms(stage.folder),
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "servers": {"RabbitMQ": stage.rabbitmq.ctl("version").strip(), "SQLite": sqlite3.sqlite_version},
    }


def warnings(machine: Mapping[str, Any]) -> list[str]:
    """What makes the figures doubtful, for people."""
    found = []
    if machine["file_system"] == "tmpfs":
        found.append("The temporary folder is in memory, where a commit waits for no disk: the figures flatter all.")
    if machine["load_before"] > machine["cores"] / 4:
        found.append(f"The machine has other work to do (load {machine['load_before']:.1f}): expect noise.")
    return found


def file_system(folder: Path) -> str:
    """The type of the file system that a folder is on. In memory (tmpfs), a sync costs nothing."""
    best, found = -1, "unknown"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        mount = Path(fields.split()[4])
        if (mount == folder or mount in folder.resolve().parents) and len(mount.parts) >= best:
            best, found = len(mount.parts), rest.split()[0]
    return found


def sync_ms(folder: Path) -> float:
    """Median milliseconds that the disk takes to keep 8 KiB for good: the least that a commit costs."""
    took = []
    with (folder / "sync").open("wb", buffering=0) as file:
        for _ in range(_SYNCS):
            file.write(_PAGE)
            start = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - start) * 1000)
    return round(statistics.median(took), 3)


def _match(pattern: str, file: str) -> str | None:
    found = re.search(pattern, Path(file).read_text())
    return found[1].strip() if found else None


def _version(library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None
