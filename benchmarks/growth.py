"""Whether a large fleet or a long history makes PostgreSQL slower: throughput with few and with many rows, in turn.

The rows are copies of one that rpi-health has written, with other devices and times. Messages are of all devices at
random. Each run begins right after a checkpoint, as others do too: PostgreSQL then logs each page in full when it is
first changed, which costs a large table, whose pages are hit once each, more than a small one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from benchmarks.contenders import check_counts
from benchmarks.databases import Database, PostgreSQLDatabase
from benchmarks.options import Options
from benchmarks.stage import Stage, check_rows
from benchmarks.summary import span
from benchmarks.tables import number, ratio, span_text

MESSAGES = 60_000
ROUNDS = 3
WARM_UP = 0.1
FEW_DEVICES = 1_000
MANY_DEVICES = 1_000_000
DEVICES = 10_000  # that have a history
HISTORY_PER_DEVICE = 10  # of the many devices: so much larger is the history
_ROWS_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class Scenario:
    """Tables of some size.

    Args:
        base: the scenario that this one is compared with; None: it is one itself.
        devices: rows in `device_status`.
        history: rows in `device_history`.
    """

    name: str
    base: str | None
    devices: int
    history: int = 0

    @property
    def title(self) -> str:
        return f"{self.devices:,} devices, {self.history:,} rows of history"


def scenarios(many_devices: int = MANY_DEVICES) -> list[Scenario]:
    """Both pairs."""
    few, some = min(FEW_DEVICES, many_devices), min(DEVICES, many_devices)
    return [
        Scenario("devices-few", None, few),
        Scenario("devices-many", "devices-few", many_devices),
        Scenario("history-none", None, some),
        Scenario("history-long", "history-none", some, many_devices * HISTORY_PER_DEVICE),
    ]


NAMES = tuple(scenario.name for scenario in scenarios())


def run(stage: Stage, options: Options, say: Callable[[str], None]) -> dict[str, Any]:
    """Fill a database for each scenario, then let them have their turns."""
    chosen = [each for each in scenarios(options.devices or MANY_DEVICES) if options.wants(each.name)]
    messages = options.messages or MESSAGES
    rates: dict[str, list[float]] = {scenario.name: [] for scenario in chosen}
    sent = 1  # the report from which the rows were made
    with contextlib.ExitStack() as stack:
        databases = {each.name: stack.enter_context(stage.database("postgresql")) for each in chosen}
        for scenario in chosen:
            _fill(stage, databases[scenario.name], scenario)
            say(f"{scenario.title}: filled")
        for turn in range(1 + (options.rounds or ROUNDS)):
            count = messages if turn else max(1, round(messages * WARM_UP))
            for scenario in chosen:
                rate = _play(stage, databases[scenario.name], scenario, count, sent)
                say(f"{scenario.title}, {f'round {turn}' if turn else 'warm-up'}: {rate:,.0f} messages/s")
                rates[scenario.name] += [rate] if turn else []
                sent += count
    return summarised(chosen, rates)


def _play(stage: Stage, database: Database, scenario: Scenario, messages: int, first: int) -> float:
    """Consume so many messages, newer than all before. Returns the messages a second."""
    if not scenario.history:
        database.empty("device_history")
    before = database.number("SELECT count(*) FROM device_history")
    # What the last run has left of dead rows, the autovacuum would clear away during this one.
    for table in ("device_status", "device_history"):
        database.execute(f"VACUUM (ANALYZE) {table}")
    stage.fill(messages, scenario.devices, "--anew", "--shuffled", "--first", str(first))
    stage.settle(database)
    with stage.consume("--until-empty", database=database) as consumer:
        consumer.wait_until_consuming()
        usage = consumer.wait()
    stage.check_queue_is_empty()
    check_rows(database, "device_history", before + messages)
    check_rows(database, "device_status", scenario.devices)
    check_counts(usage.counts, messages)
    return messages / usage.seconds


def _fill(stage: Stage, database: Database, scenario: Scenario) -> None:
    """Make the rows of a scenario from those of one report of the first device."""
    stage.fill(1, 1, "--anew")
    with stage.consume("--until-empty", database=database) as consumer:
        consumer.wait_until_consuming()
        consumer.wait()
    _copy(database, "device_status", {"raspberry_id": _DEVICE.format("n")}, 1, scenario.devices - 1, without="id")
    per_device = scenario.history // scenario.devices
    if per_device:
        changes = {
            "raspberry_id": _DEVICE.format(f"(n / {per_device})"),
            "reported_at": f"reported_at - interval '1 day' - n % {per_device} * interval '1 minute'",
            "digest": "decode(md5(n::text), 'hex')",
        }
        _copy(database, "device_history", changes, 0, per_device * scenario.devices - 1)


#: As `messages.device_id` makes it.
_DEVICE = "'raspberry-' || lpad({}::text, 7, '0')"


def _copy(database: Database, table: str, changes: Mapping[str, str], first: int, last: int, without: str = "") -> None:
    """Copy the one row of a table for each n from `first` to `last`, with some columns as SQL expressions of n."""
    assert isinstance(database, PostgreSQLDatabase)
    database.execute(f"CREATE TABLE template AS SELECT * FROM {table} LIMIT 1")
    columns = [name for name in database.columns(table) if name != without]
    values = ", ".join(changes.get(name, name) for name in columns)
    for start in range(first, last + 1, _ROWS_AT_ONCE):
        numbers = f"generate_series({start}, {min(start + _ROWS_AT_ONCE - 1, last)}) AS n"
        database.execute(f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM template, {numbers}")
    database.execute("DROP TABLE template")


def summarised(chosen: list[Scenario], rates: Mapping[str, list[float]]) -> dict[str, Any]:
    """The rates of each scenario, and the ratio of its median to that of the smaller one."""
    spans = {name: span(found) for name, found in rates.items()}
    return {
        each.name: {
            "title": each.title,
            "devices": each.devices,
            "history": each.history,
            "messages_per_second": spans[each.name]._asdict(),
            "ratio": spans[each.name].median / spans[each.base].median if each.base in spans else None,
            "ratio_in_each_round": [own / base for own, base in zip(rates[each.name], rates.get(each.base or "", []))],
            "samples": rates[each.name],
        }
        for each in chosen
    }


def tables(result: Mapping[str, Any]) -> list[Table]:
    """The result for people."""
    table = Table("", title="Throughput on PostgreSQL by the size of the tables")
    for heading in ("messages/s", "least … most", "of the smaller one"):
        table.add_column(heading, justify="right")
    for found in result.values():
        rate = found["messages_per_second"]
        compared = "" if found["ratio"] is None else ratio(found["ratio"])
        table.add_row(found["title"], number(rate["median"]), span_text(rate), compared)
    return [table]
