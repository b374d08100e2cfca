"""What a log line looks like, what it never holds, and how a flood of them is kept small."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rpi_health.logs import JsonLineFormatter, TextLineFormatter, redactor, setup
from rpi_health.rate_limit import RateLimiter
from rpi_health.urls import MASK

NOON = datetime(2026, 11, 22, 12, 3, 44, 56_000, tzinfo=timezone.utc).timestamp()


@pytest.fixture(autouse=True)
def _loggers() -> Iterator[None]:
    names = ("rpi_health", "pika")
    saved = [(log, log.level, log.propagate, log.handlers[:]) for log in map(logging.getLogger, names)]
    yield
    for log, level, propagate, handlers in saved:
        log.setLevel(level)
        log.propagate, log.handlers = propagate, handlers


def record_of(message: str, *args: object, **fields: object) -> logging.LogRecord:
    logger = logging.getLogger("rpi_health.test")
    record = logger.makeRecord(logger.name, logging.INFO, __file__, 1, message, args, None, extra=fields)
    record.created = NOON
    return record


def text_line(message: str, *args: object, secrets: tuple[str, ...] = (), **fields: object) -> str:
    return TextLineFormatter(redactor(secrets)).format(record_of(message, *args, **fields))


def json_line(message: str, *args: object, secrets: tuple[str, ...] = (), **fields: object) -> dict[str, Any]:
    line = JsonLineFormatter(redactor(secrets)).format(record_of(message, *args, **fields))
    assert "\n" not in line
    assert line.isascii()
    parsed: dict[str, Any] = json.loads(line, parse_constant=lambda constant: pytest.fail(constant))
    return parsed


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("no text")


# ── Text ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_text_line_is_time_level_sentence_and_fields() -> None:
    line = text_line("stored batch", event="stored", messages=500, ms=12)
    assert line == "2026-11-22T12:03:44Z INFO  stored batch  messages=500 ms=12"


def test_text_line_without_fields_ends_with_its_sentence() -> None:
    assert text_line("connected", event="connected") == "2026-11-22T12:03:44Z INFO  connected"


@pytest.mark.parametrize(
    ("level", "shown"),
    [("DEBUG", "DEBUG"), ("INFO", "INFO "), ("WARNING", "WARN "), ("ERROR", "ERROR"), ("CRITICAL", "FATAL")],
)
def test_levels_line_up(level: str, shown: str) -> None:
    record = record_of("x")
    record.levelname = level
    assert TextLineFormatter(redactor(())).format(record) == f"2026-11-22T12:03:44Z {shown} x"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "plain"),
        ("48°C", "48°C"),
        ("", '""'),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "x"', r'"say \"x\""'),
        (None, "None"),
        (b"\xff", r"b'\xff'"),
        ([1, "a"], "\"[1, 'a']\""),
        (Broken(), '"<Broken that cannot be shown>"'),
    ],
)
def test_value_is_quoted_where_it_would_not_be_one_word(value: object, shown: str) -> None:
    assert text_line("x", value=value).endswith(f"  value={shown}")


HOSTILE = "a\x1b[2J\nb\u202ec\u200bd\ud800"


def test_text_line_escapes_what_a_terminal_would_obey() -> None:
    record = record_of("said %s", HOSTILE, device=HOSTILE)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        record.exc_info = sys.exc_info()
    line = TextLineFormatter(redactor(())).format(record)
    assert not set(HOSTILE) - set("abcd[2J\n") & set(line)
    assert r"\x1b[2J" in line
    assert line.splitlines()[0].startswith("2026-")
    assert line.splitlines()[1] == "  Traceback (most recent call last):"


def test_long_field_is_cut_in_a_text_line() -> None:
    assert len(text_line("x", value="y" * 100_000)) < 600


def test_secret_is_masked_before_a_long_field_is_cut() -> None:
    assert "swordf" not in text_line("x", value="y" * 494 + "swordfish", secrets=("swordfish",))


# ── JSON ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_json_line_has_fixed_keys_first_and_then_the_fields() -> None:
    parsed = json_line("stored batch", event="stored", messages=500, ok=True, nothing=None)
    assert list(parsed.items()) == [
        ("time", "2026-11-22T12:03:44.056Z"),
        ("level", "info"),
        ("logger", "rpi_health.test"),
        ("event", "stored"),
        ("message", "stored batch"),
        ("messages", 500),
        ("ok", True),
        ("nothing", None),
    ]


def test_json_line_without_an_event_says_so() -> None:
    assert json_line("x")["event"] is None


def test_field_named_like_a_fixed_key_keeps_its_value_under_another_name() -> None:
    parsed = json_line("x", time="yesterday", level="high")
    assert (parsed["time"], parsed["level"]) == ("2026-11-22T12:03:44.056Z", "info")
    assert (parsed["time_"], parsed["level_"]) == ("yesterday", "high")


def circular() -> list[object]:
    value: list[object] = []
    value.append(value)
    return value


def deep() -> list[object]:
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (2**63 - 1, 2**63 - 1),
        (0.1, 0.1),
        (b"\xff", r"b'\xff'"),
        ({1: (2, {"b": {3}})}, {"1": [2, {"b": [3]}]}),
        ({None: 1, (1, 2): 2}, {"None": 1, "(1, 2)": 2}),
        (OrderedDict(a=1), {"a": 1}),
        ("lone \ud800", r"lone \ud800"),
        ("\x1b\u2028é", "\x1b\u2028é"),
        (ValueError("why"), "why"),
        (Broken(), "<Broken that cannot be shown>"),
        ({Broken(): 1}, {"<Broken that cannot be shown>": 1}),
        (datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=1))), "2026-01-02T00:00:00+01:00"),
    ],
)
def test_json_line_holds_any_value(value: object, expected: object) -> None:
    assert json_line("x", value=value)["value"] == expected


@pytest.mark.parametrize("make", [circular, deep, lambda: 10**5000, lambda: -(2**64), object])
def test_json_line_survives_what_json_cannot_hold(make: Callable[[], object]) -> None:
    assert json_line("x", value=make())["value"]


@settings(max_examples=50, deadline=None)
@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.datetimes()),
        lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.one_of(st.text(), st.integers()), inner)),
    )
)
def test_every_line_is_one_line_of_json_or_of_text(value: object) -> None:
    json_line("x", value=value)
    assert len(text_line("x", value=value).splitlines()) == 1


def test_json_line_carries_the_traceback_in_one_field() -> None:
    stream = io.StringIO()
    setup("info", "json", stream=stream)
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("rpi_health.x").exception("failed", stack_info=True)
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["exc_info"].endswith("ValueError: why")
    assert "Stack (most recent call last)" in json.loads(line)["stack_info"]


# ── Redaction ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_long_secret_is_masked_everywhere() -> None:
    assert redactor(["swordfish"])("swordfish, xswordfishx") == f"{MASK}, x{MASK}x"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("stored 1234 messages in 12345 ms", "stored 1234 messages in 12345 ms"),
        ("amqp://athavus:1234@localhost", "amqp://athavus:***@localhost"),
        ("athavus:1234@localhost", "athavus:***@localhost"),
        ("password=1234 host=x", "password=*** host=x"),
        ("{'passwd': '1234'}", "{'passwd': '***'}"),
        ("password=12345", "password=12345"),
        ("port:1234", "port:1234"),
    ],
)
def test_short_secret_is_masked_where_it_stands_as_a_password(text: str, masked: str) -> None:
    assert redactor(["1234"])(text) == masked


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("no amqp://u:p@h, nor x+y://u:q@h:5", "no amqp://u:***@h, nor x+y://u:***@h:5"),
        ("amqp://:p@ss@h", "amqp://:***@h"),
        ("http://h:80/a@b mail@example.org", "http://h:80/a@b mail@example.org"),
    ],
)
def test_password_of_an_unknown_url_is_masked(text: str, masked: str) -> None:
    assert redactor([])(text) == masked


def test_secret_that_begins_another_does_not_leave_its_rest() -> None:
    assert redactor(["swordfish", "swordfish2000"])("swordfish2000") == MASK


def test_short_reading_of_a_long_secret_does_not_mask_ordinary_text() -> None:
    assert redactor(["%41%42"])("AB") == "AB"


@settings(deadline=None)
@given(st.text(min_size=6).filter(lambda text: not set(text) <= set("*")))
def test_long_secret_is_found_however_it_is_written(secret: str) -> None:
    redact = redactor([secret])
    for text in (secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], ascii(secret)[1:-1]):
        assert redact(text) == MASK


def test_empty_secret_masks_nothing() -> None:
    assert redactor([""])("text") == "text"


# ── Setting up ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_setup_again_replaces_what_it_set_up() -> None:
    first, second = io.StringIO(), io.StringIO()
    setup("info", "text", stream=first)
    setup("error", "json", stream=second)
    logger = logging.getLogger("rpi_health.x")
    logger.warning("not severe enough")
    logger.error("failed")
    assert first.getvalue() == ""
    assert [json.loads(line)["message"] for line in second.getvalue().splitlines()] == ["failed"]


def test_setup_leaves_the_root_and_foreign_handlers_alone() -> None:
    root, ours, foreign = logging.getLogger(), logging.getLogger("rpi_health"), logging.NullHandler()
    ours.addHandler(foreign)
    before = root.handlers[:], root.level
    setup("debug", "text", stream=io.StringIO())
    setup("debug", "text", stream=io.StringIO())
    assert (root.handlers[:], root.level) == before
    assert foreign in ours.handlers
    assert len(ours.handlers) == 2
    assert ours.propagate is False


def test_lines_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    setup("info", "text")
    logging.getLogger("rpi_health.x").info("hello")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith("INFO  hello\n")


@pytest.mark.parametrize(("level", "shown"), [("info", []), ("debug", ["lost", "closing"])])
def test_errors_of_pika_are_shown_only_when_debugging(level: str, shown: list[str]) -> None:
    stream = io.StringIO()
    setup(level, "json", stream=stream)
    pika = logging.getLogger("pika.adapters.base_connection")
    pika.error("lost")
    pika.info("closing")
    pika.debug("frame")
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == shown


def test_line_that_cannot_be_formatted_is_reported_without_its_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    setup("info", "text", stream=stream)
    logging.getLogger("rpi_health.x").info("%d messages", "swordfish")
    assert stream.getvalue().startswith("a log line of rpi_health.x:")
    assert stream.getvalue().endswith("could not be written (TypeError)\n")
    assert "swordfish" not in stream.getvalue() + capsys.readouterr().err


def test_closed_stream_stops_nobody() -> None:
    stream = io.StringIO()
    setup("info", "text", stream=stream)
    stream.close()
    logging.getLogger("rpi_health.x").info("hello")


# ── Rate ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_first_five_lines_of_a_kind_are_written_then_one_a_minute() -> None:
    clock = Clock()
    limiter = RateLimiter(clock)
    answers = []
    for _ in range(13):
        answers.append(limiter.allow("bad_json"))
        clock.now += 10
    assert answers == [0, 0, 0, 0, 0, None, None, None, None, None, 5, None, None]


def test_suppressed_lines_are_counted_once() -> None:
    clock = Clock()
    limiter = RateLimiter(clock, burst=1, interval_s=60)
    first = limiter.allow("x")
    suppressed = [limiter.allow("x") for _ in range(7)]
    clock.now = 60
    later = limiter.allow("x")
    clock.now = 120
    assert (first, suppressed, later, limiter.allow("x")) == (0, [None] * 7, 7, 0)


def test_kinds_are_limited_each_for_itself() -> None:
    limiter = RateLimiter(Clock(), burst=1)
    assert [limiter.allow(key) for key in ("a", "b", "a")] == [0, 0, None]


def test_limiter_forgets_old_kinds_rather_than_grow() -> None:
    limiter = RateLimiter(Clock(), burst=1)
    for number in range(3 * RateLimiter.MOST_KEYS):
        limiter.allow(str(number))
    assert len(limiter._kinds) == RateLimiter.MOST_KEYS


def test_threads_share_one_allowance() -> None:
    limiter = RateLimiter(Clock(), burst=5)
    answers: list[int | None] = []
    threads = [
        threading.Thread(target=lambda: answers.extend([limiter.allow("x") for _ in range(1000)])) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers.count(0) == 5
    assert answers.count(None) == 3995
