"""Several consumers on one queue: the throughput of all together, and whether they get into each other's way.

Each is frozen as soon as it consumes, until all are there. What they have stored by then does not count, nor does the
time. Deadlocks are those that the server has counted, retries those that the consumers have.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from rich.table import Table

from benchmarks.databases import Database
from benchmarks.options import Options
from benchmarks.program import Program, Usage
from benchmarks.stage import Stage, WrongOutcome, check_rows
from benchmarks.summary import span
from benchmarks.tables import number, ratio, span_text

NAMES = ("postgresql", "mariadb")
CONSUMERS = (1, 2, 4)
MESSAGES = 60_000
DEVICES = 10_000
ROUNDS = 3
WARM_UP = 0.1


class Sample(NamedTuple):
    """What one run came to."""

    messages_per_second: float
    deadlocks: int
    database_retries: int
    redelivered: int


def run(stage: Stage, options: Options, say: Callable[[str], None]) -> dict[str, Any]:
    """Every number of consumers on every database, in turn, after a warm-up of the databases."""
    kinds = [kind for kind in NAMES if options.wants(kind)]
    messages, devices = options.messages or MESSAGES, options.devices or DEVICES
    for kind in kinds:
        _play(stage, kind, 1, max(1, round(messages * WARM_UP)), devices)
        say(f"{kind}: warm")
    samples: dict[str, dict[int, list[Sample]]] = {kind: {count: [] for count in CONSUMERS} for kind in kinds}
    for turn in range(options.rounds or ROUNDS):
        for kind in kinds:
            for count in CONSUMERS:
                sample = _play(stage, kind, count, messages, devices)
                samples[kind][count].append(sample)
                say(f"{kind}, {count} consumers, round {turn + 1}: {sample.messages_per_second:,.0f} messages/s")
    return {kind: {str(count): summarised(each, count) for count in CONSUMERS} for kind, each in samples.items()}


def _play(stage: Stage, kind: str, count: int, messages: int, devices: int) -> Sample:
    with stage.database(kind) as database:
        stage.fill(messages, devices, "--anew")
        stage.settle(database)
        deadlocks = database.deadlocks()
        rate, usages = _consume(stage, database, count, messages)
        stage.check_queue_is_empty()
        check_rows(database, "device_history", messages)
        check_rows(database, "device_status", min(messages, devices))
        counts = {what: sum(usage.counts[what] for usage in usages) for what in ("database_retries", "redelivered")}
        return Sample(rate, database.deadlocks() - deadlocks, **counts)


def _consume(stage: Stage, database: Database, count: int, messages: int) -> tuple[float, list[Usage]]:
    """Let so many consumers empty the queue. Returns their messages a second, all together, and what each used."""
    with contextlib.ExitStack() as stack:
        consumers = []
        for _ in range(count):
            consumers.append(stack.enter_context(stage.consume("--until-empty", database=database)))
            consumers[-1].wait_until_consuming()
            consumers[-1].freeze()
        done = database.number("SELECT count(*) FROM device_history")
        thawed_at_s = time.time()
        for consumer in consumers:
            consumer.thaw()
        with ThreadPoolExecutor(count) as threads:
            usages = list(threads.map(Program.wait, consumers))
        stopped_at_s = max(consumer.stopped_at for consumer in consumers).timestamp()
    if done == messages or any(usage.counts["stored"] == 0 for usage in usages):
        raise WrongOutcome(f"the queue was empty before all {count} consumers had stored anything: take more messages")
    return (messages - done) / (stopped_at_s - thawed_at_s), usages


def summarised(samples: Mapping[int, list[Sample]], count: int) -> dict[str, Any]:
    """The rates of so many consumers, compared with that of one, and the troubles of all rounds."""
    rates = {n: span([sample.messages_per_second for sample in found]) for n, found in samples.items()}
    own = samples[count]
    return {
        "messages_per_second": rates[count]._asdict(),
        "ratio_to_one": rates[count].median / rates[1].median,
        "deadlocks": sum(sample.deadlocks for sample in own),
        "database_retries": sum(sample.database_retries for sample in own),
        "samples": [sample._asdict() for sample in own],
    }


def tables(result: Mapping[str, Any]) -> list[Table]:
    """The result for people."""
    table = Table("", title="Several consumers on one queue, all together")
    headings = ("consumers", "messages/s", "least … most", "of one", "deadlocks, all rounds", "database retries")
    for heading in headings:
        table.add_column(heading, justify="right")
    for kind, found in result.items():
        for count, each in found.items():
            rate = each["messages_per_second"]
            troubles = (str(each[what]) for what in ("deadlocks", "database_retries"))
            shown = (number(rate["median"]), span_text(rate), ratio(each["ratio_to_one"]))
            table.add_row(kind, count, *shown, *troubles)
    return [table]
