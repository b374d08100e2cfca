"""What processes have used, from Linux: CPU seconds and memory. Knows nothing of what they do."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_CPUCLOCK_SCHED = 2


def cpu_of_process_s(pid: int) -> float:
    """CPU seconds (user and system) that a running process has used, those of its ended threads too; to the nanosecond.

    Its POSIX clock, whose id is made as `clock_getcpuclockid` makes it. The sum over /proc/PID/task would lack the
    threads that have ended, and /proc/PID/stat counts in hundredths of a second.

    Raises:
        OSError: there is no such process.
    """
    return time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)


def cpu_of_tree_s(root: int) -> float:
    """CPU seconds that a process and all its descendants have used since it began; to a hundredth.

    Those that have ended count, in what their parents note of them when they collect them.
    """
    return sum(sum(ticks) for ticks in _ticks_of_tree(root)) / _TICKS_PER_SECOND


def memory_mib(pid: int) -> float:
    """What is resident of a process now, in MiB."""
    return _status_mib(pid, "VmRSS")


def peak_memory_mib(pid: int) -> float:
    """The most that was ever resident of a process, in MiB.

    Not `ru_maxrss`: a process inherits that from the one that forked it, and keeps it when it runs another program.
    """
    return _status_mib(pid, "VmHWM")


def _status_mib(pid: int, name: str) -> float:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc", str(pid), "status").read_text())
    if found is None:  # a process that has ended and was not collected has no memory
        raise ProcessLookupError(f"process {pid} has ended")
    return int(found[1]) / 1024


def _ticks_of_tree(root: int) -> Iterable[list[int]]:
    stats = dict(_all_stats())
    pids = [root]
    for pid in pids:  # grows as it goes
        if pid in stats:
            yield [int(field) for field in stats[pid][11:15]]  # utime, stime, cutime, cstime
            pids += [other for other, fields in stats.items() if int(fields[1]) == pid]


def _all_stats() -> Iterable[tuple[int, list[str]]]:
    """The fields of /proc/PID/stat from the state on, of every process."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            text = (entry / "stat").read_text()
        except OSError:  # ended meanwhile
            continue
        yield int(entry.name), text.rpartition(")")[2].split()
