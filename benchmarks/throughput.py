"""Messages a second of every contender, in turn, and what each message costs.

Nobody's start counts: time begins when rpi-health says that it consumes, and with the first message of a yardstick. It
ends when rpi-health has drained and disconnected, but with a yardstick's last message: that is to the yardsticks' good.
Peak memory is that of the whole run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.table import Table

from benchmarks.contenders import CONTENDERS, Contender, Sample, play
from benchmarks.options import Options
from benchmarks.stage import Stage
from benchmarks.summary import Span, ratios, span
from benchmarks.tables import number, ratio, span_text

NAMES = tuple(contender.name for contender in CONTENDERS)
MESSAGES = 60_000
DEVICES = 10_000
ROUNDS = 3
#: The warm-up, a run of each that does not count, takes this part of the messages.
WARM_UP = 0.1


def run(stage: Stage, options: Options, say: Callable[[str], None]) -> dict[str, Any]:
    """Let each contender warm up, then all of them play in turn, as often as there are rounds."""
    contenders = [contender for contender in CONTENDERS if options.wants(contender.name)]
    messages, devices = options.messages or MESSAGES, options.devices or DEVICES
    samples: dict[str, list[Sample]] = {contender.name: [] for contender in contenders}
    for contender in contenders:
        play(stage, contender, round(messages * WARM_UP), round(devices * WARM_UP))
        say(f"{contender.title}: warm")
    for turn in range(options.rounds or ROUNDS):
        for contender in contenders:
            sample = play(stage, contender, messages, devices)
            samples[contender.name].append(sample)
            say(f"{contender.title}, round {turn + 1}: {sample.messages_per_second:,.0f} messages/s")
    return {"messages": messages, "devices": devices, "contenders": summarised(contenders, samples)}


def summarised(contenders: Sequence[Contender], samples: Mapping[str, Sequence[Sample]]) -> dict[str, Any]:
    """Each contender's samples, the spans of them, and the ratios of its median rate to those of the yardsticks."""
    spans = {name: _spans(runs) for name, runs in samples.items()}
    rates = {name: found["messages_per_second"].median for name, found in spans.items()}
    to = [contender.name for contender in contenders if contender.is_yardstick]
    found = ratios(rates, to)
    return {
        contender.name: {
            "title": contender.title,
            **{what: each._asdict() for what, each in spans[contender.name].items()},
            "ratio_to": found[contender.name],
            "samples": [dataclasses.asdict(sample) for sample in samples[contender.name]],
        }
        for contender in contenders
    }


def _spans(samples: Sequence[Sample]) -> dict[str, Span]:
    columns = {
        "messages_per_second": [sample.messages_per_second for sample in samples],
        "client_cpu_us": [sample.client_cpu_us for sample in samples],
        "broker_cpu_us": [sample.broker_cpu_us for sample in samples],
        "database_cpu_us": [sample.database_cpu_us for sample in samples],
        "server_cpu_us": [sample.broker_cpu_us + sample.database_cpu_us for sample in samples],
        "peak_memory_mib": [sample.peak_memory_mib for sample in samples],
    }
    return {name: span(column) for name, column in columns.items()}


def tables(result: Mapping[str, Any]) -> list[Table]:
    """The result for people."""
    contenders: Mapping[str, Any] = result["contenders"]
    yardsticks = list(next(iter(contenders.values()))["ratio_to"])
    costs = Table("", title=f"Throughput: {result['messages']:,} messages of {result['devices']:,} devices")
    for heading in ("messages/s", "least … most", "client CPU µs", "broker CPU µs", "database CPU µs", "peak MiB"):
        costs.add_column(heading, justify="right")
    compared = Table("", title="Times as fast as")
    for name in yardsticks:
        compared.add_column(contenders[name]["title"], justify="right")
    for found in contenders.values():
        rate = found["messages_per_second"]
        medians = (found[what]["median"] for what in ("client_cpu_us", "broker_cpu_us", "database_cpu_us"))
        peak = found["peak_memory_mib"]["median"]
        costs.add_row(found["title"], number(rate["median"]), span_text(rate), *map(number, medians), number(peak))
        compared.add_row(found["title"], *(ratio(found["ratio_to"][name]) for name in yardsticks))
    return [costs, compared] if yardsticks else [costs]
