"""What the consumer's process holds of the memory: over very many messages, and with the largest bodies.

On PostgreSQL. What is resident is read while the messages come, part after part: the broker never holds many of them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from rich.table import Table

from benchmarks.contenders import check_counts
from benchmarks.databases import Database
from benchmarks.options import Options
from benchmarks.proc import memory_mib
from benchmarks.program import Program
from benchmarks.stage import QUEUE, Stage, check_rows
from benchmarks.tables import number

NAMES = ("many", "large")
MESSAGES = 1_000_000
DEVICES = 10_000
#: Published at once, whenever fewer than half as many wait.
PART = 20_000
#: When so much of the messages is consumed, growth begins to count: everything has been used once by then.
GROWN_UP = 0.1
LARGE_MESSAGES = 2_000
LARGEST_BYTES = 256 * 1024
_SAMPLE_S = 0.5
_AROUND = 0.02
_TIMEOUT_S = 3600.0


class Sample(NamedTuple):
    """What was resident, in MiB, when so many messages were acknowledged."""

    consumed: int
    resident_mib: float


def run(stage: Stage, options: Options, say: Callable[[str], None]) -> dict[str, Any]:
    """One run of each."""
    results: dict[str, Any] = {}
    if options.wants("many"):
        results["many"] = _many(stage, options.messages or MESSAGES, options.devices or DEVICES, say)
    if options.wants("large"):
        results["large"] = _large(stage, min(options.messages or LARGE_MESSAGES, LARGE_MESSAGES))
    return results


def _many(stage: Stage, messages: int, devices: int, say: Callable[[str], None]) -> dict[str, Any]:
    stage.empty_queue()
    samples: list[Sample] = []
    with stage.database("postgresql") as database:
        with stage.consume("--max-messages", str(messages), database=database, timeout_s=_TIMEOUT_S) as consumer:
            consumer.wait_until_consuming()
            for sent in range(0, messages, PART):
                stage.fill(min(PART, messages - sent), devices, "--first", str(sent))
                _sample_while_busy(stage, consumer, min(sent + PART, messages), messages, samples)
                say(f"{samples[-1].consumed:,} messages: {samples[-1].resident_mib:.1f} MiB")
            usage = consumer.wait()
        _check(stage, database, messages, min(messages, devices), usage.counts)
    return {
        "messages": messages,
        # The kernel's own peak may be some pages behind what it says of the moment.
        "peak_mib": max(usage.peak_memory_mib, *(sample.resident_mib for sample in samples)),
        **growth(samples, messages),
        "samples": [sample._asdict() for sample in samples],
    }


def _sample_while_busy(stage: Stage, consumer: Program, sent: int, messages: int, samples: list[Sample]) -> None:
    """Note what is resident, again and again, until it is time to publish more; at the end, until just before the end.

    The consumer ends by itself after its last message: what it holds then cannot be read any more. Where it keeps up
    with the publishing, there is one note for each part.
    """
    while True:
        ready, unacknowledged = stage.rabbitmq.queue_counts(QUEUE)
        if ready + unacknowledged == 0:
            if sent < messages:
                samples.append(Sample(sent, memory_mib(consumer.pid)))
            return
        samples.append(Sample(sent - ready - unacknowledged, memory_mib(consumer.pid)))
        if ready < PART / 2:
            return
        time.sleep(_SAMPLE_S)


def growth(samples: list[Sample], messages: int) -> dict[str, float]:
    """What was resident when the tenth of the messages was consumed and at the end, in MiB, and the difference.

    Each is the median of the samples around, for it goes up and down with the batch in hand.
    """
    first, last = (_around(samples, share * messages, messages) for share in (GROWN_UP, 1.0))
    return {"after_first_tenth_mib": first, "at_the_end_mib": last, "growth_mib": last - first}


def _around(samples: list[Sample], consumed: float, messages: int) -> float:
    nearest = min(abs(sample.consumed - consumed) for sample in samples)
    reach = max(nearest, _AROUND * messages)
    return statistics.median(s.resident_mib for s in samples if abs(s.consumed - consumed) <= reach)


def _large(stage: Stage, messages: int) -> dict[str, Any]:
    with stage.database("postgresql") as database:
        stage.fill(messages, messages, "--anew", "--size-bytes", str(LARGEST_BYTES))
        stage.settle(database)
        with stage.consume("--until-empty", database=database) as consumer:
            consumer.wait_until_consuming()
            usage = consumer.wait()
        _check(stage, database, messages, messages, usage.counts)
    return {
        "messages": messages,
        "body_bytes": LARGEST_BYTES,
        "peak_mib": usage.peak_memory_mib,
        "messages_per_second": messages / usage.seconds,
    }


def _check(stage: Stage, database: Database, messages: int, devices: int, counts: Mapping[str, Any]) -> None:
    stage.check_queue_is_empty()
    check_rows(database, "device_history", messages)
    check_rows(database, "device_status", devices)
    check_counts(counts, messages)


def tables(result: Mapping[str, Any]) -> list[Table]:
    """The result for people."""
    table = Table("", title="Memory of the consumer, resident, in MiB (PostgreSQL)")
    for heading in ("messages", "peak", "after a tenth", "at the end", "growth"):
        table.add_column(heading, justify="right")
    titles = {"many": "the example report", "large": f"bodies of {LARGEST_BYTES:,} bytes"}
    for name, found in result.items():
        figures = (found.get(what) for what in ("peak_mib", "after_first_tenth_mib", "at_the_end_mib", "growth_mib"))
        shown = ("" if figure is None else number(figure) for figure in figures)
        table.add_row(titles[name], f"{found['messages']:,}", *shown)
    return [table]
