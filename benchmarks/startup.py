"""How long commands take that people wait for, from start to end; beside a Python that does nothing.

Output goes into a pipe. The fleet is in SQLite, as by default.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.table import Table

from benchmarks.databases import Database
from benchmarks.messages import device_id
from benchmarks.options import Options
from benchmarks.program import run as run_to_its_end
from benchmarks.stage import COMMAND, Stage, WrongOutcome
from benchmarks.summary import span
from benchmarks.tables import number, ratio, span_text

FLOOR = "python"
COMMANDS: Mapping[str, Sequence[object]] = {
    FLOOR: [sys.executable, "-c", "pass"],
    "help": [COMMAND, "--help"],
    "version": [COMMAND, "--version"],
    "status": [COMMAND, "status"],
    "status-json": [COMMAND, "status", "--json"],
}
NAMES = tuple(COMMANDS)
DEVICES = 10_000
ROUNDS = 10


def run(stage: Stage, options: Options, say: Callable[[str], None]) -> dict[str, Any]:
    """Run each command, in turn, as often as there are rounds and once before."""
    devices = options.devices or DEVICES
    names = [name for name in NAMES if options.wants(name)]
    samples: dict[str, list[float]] = {name: [] for name in names}
    with stage.database("sqlite") as database:
        _fill(stage, database, devices)
        say(f"{devices:,} devices: stored")
        for turn in range(1 + (options.rounds or ROUNDS)):
            for name in names:
                took_ms = _time(stage, database, name, devices)
                samples[name] += [took_ms] if turn else []
    floor = span(samples[FLOOR]).median if FLOOR in samples else None
    return {name: {"devices": devices, **_summary(found, floor)} for name, found in samples.items()}


def _fill(stage: Stage, database: Database, devices: int) -> None:
    stage.fill(devices, devices, "--anew")
    with stage.consume("--until-empty", database=database) as consumer:
        consumer.wait_until_consuming()
        consumer.wait()


def _time(stage: Stage, database: Database, name: str, devices: int) -> float:
    """Milliseconds from the start of a command to its end.

    Raises:
        WrongOutcome: it does not show the whole fleet.
    """
    start = time.perf_counter()
    output = run_to_its_end(COMMANDS[name], stage.env(database), stage.folder)
    took_ms = (time.perf_counter() - start) * 1000
    if name == "status-json" and len(json.loads(output)) != devices:
        raise WrongOutcome(f"status --json does not show {devices} devices")
    if name == "status" and output.count(device_id(0)[:-7]) < devices:
        raise WrongOutcome(f"status does not show {devices} devices")
    return took_ms


def _summary(samples: list[float], floor: float | None) -> dict[str, Any]:
    found = span(samples)
    return {"ms": found._asdict(), "ratio_to_python": floor and found.median / floor, "samples": samples}


def tables(result: Mapping[str, Any]) -> list[Table]:
    """The result for people."""
    devices = next(iter(result.values()))["devices"]
    table = Table("", title=f"Wall time of commands, {devices:,} devices")
    for heading in ("ms", "least … most", "of python -c pass"):
        table.add_column(heading, justify="right")
    for name, found in result.items():
        command = "python -c pass" if name == FLOOR else " ".join(["rpi-health", *map(str, COMMANDS[name][1:])])
        compared = "" if found["ratio_to_python"] is None else ratio(found["ratio_to_python"])
        table.add_row(command, number(found["ms"]["median"]), span_text(found["ms"]), compared)
    return [table]
