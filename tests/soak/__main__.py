"""Command line of the soak. Exit status 0 when nothing was lost, stored twice or stuck."""

from __future__ import annotations

import argparse
import random
import sys
import time

from rich.console import Console
from rich.table import Table

from tests.soak.run import Tally, soak


def main() -> int:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="how long faults happen (default: 600)")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000), help="of the schedule (default: any)")
    parser.add_argument("--database", choices=["postgresql", "mariadb", "sqlite"], default="postgresql")
    options = parser.parse_args()
    started = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - started:6.1f} s  {what}", flush=True)

    print(f"Soak of {options.seconds:.0f} s on {options.database}, --seed {options.seed}")
    try:
        tally = soak(options.database, options.seconds, options.seed, say)
    except (AssertionError, TimeoutError) as error:
        print(f"FAILED with --seed {options.seed}: {error}", file=sys.stderr)
        return 1
    show(tally)
    return 0


def show(tally: Tally) -> None:
    """Print what happened."""
    faults = Table("fault", "times")
    for name, times in sorted(tally.faults.items()):
        faults.add_row(name, str(times))
    faults.add_section()
    faults.add_row("all faults", str(sum(tally.faults.values())))
    messages = Table("messages", "")
    assert tally.verdict is not None
    rows = {
        "confirmed": tally.confirmed,
        "stored": tally.verdict.stored,
        "dead-lettered": tally.verdict.dead_lettered,
        "lost": tally.confirmed - tally.verdict.stored - tally.verdict.dead_lettered,
        "reports stored twice": tally.verdict.stored - tally.reports,
        "dead letters more than once": tally.verdict.repeated_dead_letters,
        "longest recovery, seconds": f"{max(tally.recoveries_s, default=0):.1f}",
        "consumers killed or crashed": sum(n for status, n in tally.ends.items() if status != 0),
        "consumers stopped": tally.ends[0],
    }
    for name, value in rows.items():
        messages.add_row(name, str(value))
    console = Console()
    console.print(faults, messages)


if __name__ == "__main__":
    sys.exit(main())
