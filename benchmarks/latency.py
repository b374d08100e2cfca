"""How long it takes from publishing a report until everybody can read it in the database.

At 500 messages a second, and of messages that come alone, so long after one another that each is a batch of its own.
`benchmarks.watch` says how commits are noticed, and how well. The devices are known beforehand, and all is warm.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from rich.table import Table

from benchmarks.databases import Database
from benchmarks.options import Options
from benchmarks.program import ROOT, Helper
from benchmarks.program import run as run_to_its_end
from benchmarks.stage import KINDS, QUEUE, Stage, check_rows
from benchmarks.summary import percentile
from benchmarks.tables import number

NAMES = KINDS
RATE = 500
SECONDS = 10
LONE = 20
ROUNDS = 3


class Load(NamedTuple):
    """How messages come, and how often the watcher asks meanwhile."""

    title: str
    pace: tuple[str, ...]
    pause_ms: float


LOADS = {
    "steady": Load(f"{RATE} messages/s", ("--rate", str(RATE)), 1.0),
    "lone": Load("lone messages", ("--pause-ms", "100", "300"), 0.2),
}


def run(stage: Stage, options: Options, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure each database in turn, as often as there are rounds. The messages of all rounds are taken together."""
    kinds = [kind for kind in KINDS if options.wants(kind)]
    counts = {"steady": options.messages or RATE * SECONDS, "lone": LONE}
    seen: dict[str, dict[str, list[dict[str, list[float]]]]] = {kind: {load: [] for load in LOADS} for kind in kinds}
    for turn in range(options.rounds or ROUNDS):
        for kind in kinds:
            for load, found in _round(stage, kind, counts).items():
                seen[kind][load].append(found)
                median_ms = percentile(found["latencies_ms"], 50)
                say(f"{kind}, {LOADS[load].title}, round {turn + 1}: median {median_ms:.1f} ms")
    return {kind: {load: _summary(rounds) for load, rounds in loads.items()} for kind, loads in seen.items()}


def _round(stage: Stage, kind: str, counts: Mapping[str, int]) -> dict[str, dict[str, list[float]]]:
    """The latencies under each load, on a database of its own."""
    devices = max(counts.values())
    with stage.database(kind) as database:
        stage.fill(devices, devices, "--anew")
        with stage.consume(database=database) as consumer:
            consumer.wait_until_consuming()
            stage.wait_until_consumed()
            found = {load: _watched(stage, database, LOADS[load], count) for load, count in counts.items()}
            consumer.terminate()
            consumer.wait()
    return found


def _watched(stage: Stage, database: Database, load: Load, messages: int) -> dict[str, list[float]]:
    database.empty("device_history")
    stage.settle(database)
    watch = [sys.executable, "-m", "benchmarks.watch", "--database-url", database.url]
    send = [sys.executable, "-m", "benchmarks.send", "--amqp-url", stage.rabbitmq.url, "--queue", QUEUE]
    with Helper([*watch, "--messages", messages, "--pause-ms", load.pause_ms], stage.env(), ROOT) as watcher:
        run_to_its_end([*send, "--messages", messages, *load.pace], stage.env(), ROOT)
        found: dict[str, list[float]] = json.loads(watcher.result(timeout_s=60))
    stage.wait_until_consumed()
    check_rows(database, "device_history", messages)
    return found


def _summary(rounds: list[dict[str, list[float]]]) -> dict[str, float]:
    latencies, resolutions = (
        [value for found in rounds for value in found[what]] for what in ("latencies_ms", "resolutions_ms")
    )
    return {
        "messages": len(latencies),
        "median_ms": percentile(latencies, 50),
        "p99_ms": percentile(latencies, 99),
        "most_ms": max(latencies),
        "resolution_median_ms": percentile(resolutions, 50),
        "resolution_p99_ms": percentile(resolutions, 99),
    }


def tables(result: Mapping[str, Any]) -> list[Table]:
    """The result for people."""
    table = Table(
        "", "", title="Latency, from publishing to committed and visible, in ms (too high by the resolution at most)"
    )
    for heading in ("messages", "median", "99 %", "most", "resolution, median", "99 %"):
        table.add_column(heading, justify="right")
    for kind, loads in result.items():
        for load, found in loads.items():
            figures = (found[what] for what in list(found)[1:])
            table.add_row(kind, LOADS[load].title, f"{found['messages']:,}", *map(number, figures))
    return [table]
