"""The corpus of inputs, end to end: through a real broker and the installed command into each database.

Each case travels between two good reports of other devices. Whatever it is, the consumer lives on one connection, the
case is stored or set aside as the contract says, and its neighbours are stored as if it had not been there.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

import pika
import pytest
import sqlalchemy as sa

from rpi_health.models import DeviceHistory, DeviceStatus
from rpi_health.text import clean
from tests.amqp import PERSISTENT, Amqp
from tests.command import Cli
from tests.corpus import UNSET, Case, load
from tests.reports import EXAMPLE, rows

# Few enough that good and bad ones meet in most batches, and that there are many batches.
BATCH_SIZE = 40
NEIGHBOURS_FROM = datetime(2024, 3, 1, tzinfo=timezone.utc)
HISTORY_COLUMNS = [name for name in UNSET if name in DeviceHistory.__table__.columns]


class Message(NamedTuple):
    body: bytes
    properties: pika.BasicProperties = PERSISTENT


@dataclass(frozen=True)
class Fleet:
    """What the tables hold: the state by device, and the history by device, oldest first."""

    status: dict[str, dict[str, Any]]
    history: dict[str, list[dict[str, Any]]]


@pytest.fixture
def env(amqp: Amqp, migrated_url: str) -> dict[str, str]:
    settings = {"DATABASE_URL": migrated_url, "BATCH_SIZE": str(BATCH_SIZE), "RETENTION": "0"}  # some are of 2024
    return {**amqp.env, **{f"RPI_HEALTH_{name}": value for name, value in settings.items()}}


def neighbour(number: int) -> dict[str, Any]:
    """A good report that nobody else sends."""
    at = NEIGHBOURS_FROM + timedelta(seconds=number)
    return {**EXAMPLE, "id": f"neighbour-{number:04}", "cpu_percent": number / 8, "timestamp": at.isoformat()}


def messages_of(case: Case) -> list[Message]:
    return [Message(body, case.properties) for body in (case.before, case.body) if body is not None]


def between_neighbours(cases: list[Case]) -> list[Message]:
    messages = []
    for number, case in enumerate(cases):
        messages += [Message(json.dumps(neighbour(number)).encode()), *messages_of(case)]
    return [*messages, Message(json.dumps(neighbour(len(cases))).encode())]


def publish(amqp: Amqp, messages: Iterable[Message]) -> None:
    with amqp.channel() as channel:
        channel.tx_select()
        for message in messages:
            channel.basic_publish("", amqp.queue, message.body, message.properties)
        channel.tx_commit()


def consume(cli: Cli, env: dict[str, str]) -> dict[str, Any]:
    """Drain the queue. Returns the counts; nothing that was logged may be unsafe to show."""
    done = cli("consume", "--until-empty", "--log-format", "json", env=env)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert [line for line in lines if clean(line) != line] == []
    events = [json.loads(line) for line in lines]
    assert {event["event"] for event in events} <= {"consuming", "dead_lettered", "stopped"}, done.stderr
    return dict(events[-1])


def look(url: str) -> Fleet:
    with rows(url) as connection:
        status = connection.execute(sa.select(DeviceStatus.__table__)).mappings().all()
        entries = connection.execute(sa.select(DeviceHistory.__table__).order_by(DeviceHistory.reported_at)).mappings()
        history: dict[str, list[dict[str, Any]]] = {}
        for entry in entries:
            history.setdefault(entry["raspberry_id"], []).append(dict(entry))
    return Fleet({row["raspberry_id"]: dict(row) for row in status}, history)


def wrong_rows(case: Case, fleet: Fleet) -> list[str]:
    """What is wrong with what became of a case that must be stored."""
    row, entries = fleet.status.get(case.raspberry_id), fleet.history.get(case.raspberry_id, [])
    if row is None or not entries:
        return ["is not stored"]
    wrong = case.differences(row)
    if len(entries) != case.rows:
        wrong.append(f"{len(entries)} rows in the history where {case.rows} are expected")
    if row["reported_at"] != entries[-1]["reported_at"]:
        wrong.append(f"reported_at: {row['reported_at']}, in the history {entries[-1]['reported_at']}")
    heard_at = row["reported_at"] if case.reported_at is None else min(case.reported_at, entries[-1]["received_at"])
    if row["last_update"] != heard_at:
        wrong.append(f"last_update: {row['last_update']} where {heard_at} is expected")
    return wrong + ([] if case.before else wrong_entry(case, row, entries[-1]))


def wrong_entry(case: Case, row: dict[str, Any], entry: dict[str, Any]) -> list[str]:
    """How the history of a device's only report differs from its state. A LED that was not sent is NULL there."""
    wrong = [
        f"{name}: {row[name]!r} in the state, {entry[name]!r} in the history"
        for name in HISTORY_COLUMNS
        if entry[name] != row[name] and (entry[name], row[name]) != (None, False)
    ]
    if case.reported_at is None and entry["reported_at"] != entry["received_at"]:
        wrong.append(f"reported_at: {entry['reported_at']} where the receive time is expected")
    return wrong


def wrong_letters(cases: list[Case], letters: list[tuple[pika.BasicProperties, bytes]]) -> dict[str, list[str]]:
    """What is wrong in the dead-letter queue, by case."""
    by_body = {body: properties for properties, body in letters}
    wrong = {}
    for case in cases:
        properties = by_body.get(case.body)
        if properties is None:
            wrong[case.name] = ["is not in the dead-letter queue"]
            continue
        reason, detail = (properties.headers[f"x-rpi-health-{name}"] for name in ("reason", "detail"))
        wrong[case.name] = case.differences_of_copy(properties)
        if reason != case.refused:
            wrong[case.name].append(f"{reason} ({detail}) where {case.refused} is expected")
        if len(detail) > 300 or clean(detail) != detail:
            wrong[case.name].append("the detail is not safe to print")
    return wrong


def test_each_input_is_stored_or_set_aside_and_its_neighbours_are_untouched(
    amqp: Amqp, env: dict[str, str], migrated_url: str, cli: Cli
) -> None:
    cases = load(datetime.now(timezone.utc))
    stored, refused = ([case for case in cases if (case.refused is None) is good] for good in (True, False))
    amqp.declare()
    messages = between_neighbours(cases)
    publish(amqp, messages)

    counts = consume(cli, env)

    assert (counts["sessions"], counts["deliveries"], counts["redelivered"]) == (1, len(messages), 0)
    assert counts["stored"] + counts["dead_lettered"] == counts["settled"] == len(messages)
    assert (counts["database_retries"], counts["dead_letter_retries"], amqp.counts()) == (0, 0, (0, 0))
    fleet, letters = look(migrated_url), amqp.get_all(amqp.dead_letter_queue)
    assert {properties.headers["x-rpi-health-queue"] for properties, _ in letters} == {amqp.queue}
    wrong = {**{case.name: wrong_rows(case, fleet) for case in stored}, **wrong_letters(refused, letters)}
    assert {name: problems for name, problems in wrong.items() if problems} == {}
    assert_untouched(fleet, len(cases) + 1)
    assert_nothing_else(cases, fleet, letters)


def assert_untouched(fleet: Fleet, count: int) -> None:
    """Each neighbour is stored whole, once, and has no warning."""
    for number in range(count):
        sent = neighbour(number)
        row, entries = fleet.status[sent["id"]], fleet.history[sent["id"]]
        assert {key: row[key] for key in EXAMPLE} == {key: sent[key] for key in EXAMPLE}
        assert row["report_warnings"] is None
        assert row["reported_at"] == row["last_update"] == datetime.fromisoformat(sent["timestamp"])
        assert [entry["cpu_percent"] for entry in entries] == [sent["cpu_percent"]]


def assert_nothing_else(cases: list[Case], fleet: Fleet, letters: list[tuple[pika.BasicProperties, bytes]]) -> None:
    """No device that sent nothing, no letter that nobody sent."""
    devices = {case.raspberry_id for case in cases if case.refused is None}
    devices |= {neighbour(number)["id"] for number in range(len(cases) + 1)}
    assert fleet.status.keys() == fleet.history.keys() == devices
    assert Counter(body for _, body in letters) == Counter(case.body for case in cases if case.refused is not None)


def test_dated_inputs_that_come_again_change_nothing(
    amqp: Amqp, env: dict[str, str], migrated_url: str, cli: Cli
) -> None:
    now = datetime.now(timezone.utc)
    # A device whose clock is ahead is heard of until that time comes: each delivery moves its `last_update`.
    dated = [case for case in load(now) if case.refused is None and case.is_dated and (case.reported_at or now) <= now]
    amqp.declare()
    publish(amqp, between_neighbours(dated))
    consume(cli, env)
    first = look(migrated_url)
    publish(amqp, between_neighbours(dated))

    counts = consume(cli, env)

    assert counts["stored"] == len(between_neighbours(dated))
    again = look(migrated_url)
    assert {device: row for device, row in again.status.items() if row != first.status[device]} == {}
    assert again == first
