"""What is logged is in the catalogue, and a flood of it does not flood the log."""

from __future__ import annotations

import ast
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

import rpi_health
from rpi_health import events
from rpi_health.events import EVENTS, Event, Log

NAME = "rpi_health.tests.events"


@pytest.fixture(autouse=True)
def _info() -> Iterator[None]:
    logger = logging.getLogger(NAME)
    logger.setLevel(logging.INFO)
    yield
    logger.setLevel(logging.NOTSET)


def trees() -> Iterator[tuple[Path, ast.AST]]:
    for path in Path(rpi_health.__file__).parent.rglob("*.py"):
        yield path, ast.parse(path.read_text())


def test_each_event_is_logged_somewhere() -> None:
    names = {name for name, value in vars(events).items() if isinstance(value, Event)}
    used: set[str] = set()
    for path, tree in trees():
        if path.name != "events.py":
            used |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
            used |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert names - used == set()


def test_nothing_is_logged_past_the_catalogue() -> None:
    found = [
        f"{path.name}:{node.lineno}"
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "getLogger" and path.name not in ("events.py", "logs.py")
    ]
    assert found == []


def test_names_are_unique_and_each_event_has_a_sentence_and_a_meaning() -> None:
    assert len({event.name for event in EVENTS}) == len(EVENTS) > 15
    assert all(event.sentence.endswith(".") and event.meaning.endswith(".") for event in EVENTS)
    assert all(event.name.isidentifier() and event.name.islower() for event in EVENTS)


def test_line_has_the_sentence_and_what_varies_in_fields(caplog: pytest.LogCaptureFixture) -> None:
    Log(NAME).say(events.DATABASE_HELD, error=ValueError("it is full"))
    (record,) = caplog.records
    said = (record.message, record.levelname, record.event, record.error)  # type: ignore[attr-defined]
    assert said == (events.DATABASE_HELD.sentence, "ERROR", "database_held", "it is full")
    assert (record.filename, bool(record.exc_info)) == ("test_events.py", False)


def test_traceback_goes_with_what_is_a_defect(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ValueError("defect")
    except ValueError as error:
        Log(NAME).say(events.DECODER_FAILED, error=error)
    assert "ValueError: defect" in (caplog.records[0].exc_text or "")


def test_flood_is_limited_for_each_reason(caplog: pytest.LogCaptureFixture) -> None:
    log = Log(NAME)
    for reason in ["bad_json"] * 1000 + ["too_deep"]:
        log.say(events.DEAD_LETTERED, reason=reason, detail="never the same")
    assert [record.reason for record in caplog.records] == ["bad_json"] * 5 + ["too_deep"]  # type: ignore[attr-defined]


def test_flood_of_one_error_that_is_never_the_same_is_limited(caplog: pytest.LogCaptureFixture) -> None:
    log = Log(NAME)
    for number in range(1000):
        log.say(events.DATABASE_HELD, error=f"deadlock: process {number} waits for transaction {7 * number}")
    log.say(events.DATABASE_HELD, error="another")
    assert len(caplog.records) == 5 + 1


def test_names_that_differ_in_a_number_are_different(caplog: pytest.LogCaptureFixture) -> None:
    log = Log(NAME)
    for number in range(9):
        log.say(events.TLS_INSECURE, host=f"node-{number}.example")
    assert len(caplog.records) == 9


def test_later_line_says_how_many_were_suppressed(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    log = Log(NAME, events.RateLimiter(lambda: now[0]))
    for _ in range(8):
        log.say(events.RETRY, error="away")
    now[0] = 61
    log.say(events.RETRY, error="away")
    assert [getattr(record, "suppressed", 0) for record in caplog.records] == [0] * 5 + [3]


def test_summary_is_never_suppressed_and_in_debug_nothing_is(caplog: pytest.LogCaptureFixture) -> None:
    log = Log(NAME)
    for _ in range(20):
        log.say(events.SUMMARY, stored=1)
    logging.getLogger(NAME).setLevel(logging.DEBUG)
    for _ in range(20):
        log.say(events.RETRY, error="away")
    assert len(caplog.records) == 40


def test_line_that_nobody_wants_takes_none_of_the_allowance(caplog: pytest.LogCaptureFixture) -> None:
    log = Log(NAME)
    logging.getLogger(NAME).setLevel(logging.ERROR)
    for _ in range(20):
        log.say(events.PARKED)
    logging.getLogger(NAME).setLevel(logging.INFO)
    log.say(events.PARKED)
    assert [record.event for record in caplog.records] == ["parked"]  # type: ignore[attr-defined]
