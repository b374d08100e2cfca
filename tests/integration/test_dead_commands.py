"""`dead`: what it shows is there, what it does not do stays as it was, and nothing is lost between two queues."""

from __future__ import annotations

import json
import signal
from datetime import datetime, timezone
from typing import Any

import pika
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpi_health.cli.letters import from_line, to_line
from rpi_health.delivery import DeadLetter, Properties
from tests.amqp import Amqp
from tests.command import Cli
from tests.waiting import wait_until

BAD = [
    b"not \x1b[2J json",
    b'["no object"]',
    b'{"wifi_status": "connected"}',
    b"also not json",
    b'{"id": "\\u0007"}',
    b"\x80abc",
]
REASONS = ["bad_json", "not_object", "missing_device_id", "bad_json", "bad_device_id", "bad_encoding"]


class Dead:
    """Runs `dead` on a queue."""

    def __init__(self, cli: Cli, amqp: Amqp, url: str) -> None:
        self._cli = cli
        self.amqp = amqp
        self.env = {**amqp.env, "RPI_HEALTH_DATABASE_URL": url, "COLUMNS": "100"}

    def __call__(self, *args: str, stdin: str | None = None, status: int = 0) -> str:
        done = self._cli("dead", *args, env=self.env, **({} if stdin is None else {"stdin": stdin}))
        assert done.returncode == status, done.stderr
        return done.stdout + done.stderr

    def consume(self) -> None:
        assert self._cli("consume", "--until-empty", env=self.env).returncode == 0

    def letters(self, *args: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self("list", "--json", *args))
        return found

    def count(self) -> int:
        return self.amqp.counts(self.amqp.dead_letter_queue)[0]


@pytest.fixture
def empty(cli: Cli, amqp: Amqp, sqlite_url: str) -> Dead:
    assert cli("init-db", env={"RPI_HEALTH_DATABASE_URL": sqlite_url}).returncode == 0
    amqp.declare()
    return Dead(cli, amqp, sqlite_url)


@pytest.fixture
def dead(empty: Dead) -> Dead:
    """A queue in which the consumer has set `BAD` aside."""
    empty.amqp.publish(BAD)
    empty.consume()
    wait_until(lambda: empty.count() == len(BAD), 10, "the dead letters")
    return empty


def test_list_tells_reasons_and_takes_nothing(dead: Dead) -> None:
    for _ in range(2):
        shown = dead("list")
        rows = [line for line in shown.splitlines() if line[:12].strip("0123456789abcdef") == "" and line.strip()]
        assert [row.split()[3] for row in rows] == REASONS
        assert f"6 in {dead.amqp.dead_letter_queue} · 2 bad_json · 1 bad_device_id" in " ".join(shown.split())
        wait_until(lambda: dead.count() == 6, 10, "the letters to be back")
    found = dead.letters()
    assert [letter["reason"] for letter in found] == REASONS
    assert {letter["queue"] for letter in found} == {dead.amqp.queue}
    assert [letter["size_bytes"] for letter in found] == list(map(len, BAD))
    assert len({letter["id"] for letter in found}) == 6
    assert [body for _, body in dead.amqp.get_all(dead.amqp.dead_letter_queue)] == BAD


def test_list_can_be_narrowed(dead: Dead) -> None:
    assert [letter["reason"] for letter in dead.letters("--reason", "bad_json", "--reason", "not_object")] == [
        "bad_json",
        "not_object",
        "bad_json",
    ]
    assert dead.letters("--older-than", "1h") == []
    assert len(dead.letters("--newer-than", "1h")) == 6
    first = dead.letters()[0]
    assert dead.letters("--id", first["id"]) == [first]
    shown = dead("list", "--limit", "2")
    assert "2 of 6 in" in shown
    assert "1 bad_device_id" in " ".join(shown.split())


def test_show_has_the_body_and_nothing_that_acts_on_a_terminal(dead: Dead) -> None:
    ids = {letter["reason"]: letter["id"] for letter in dead.letters()}
    shown = dead("show", dead.letters()[0]["id"])
    assert "\x1b" not in shown
    assert "not \\x1b[2J json" in shown
    assert "\\x80abc" in dead("show", ids["bad_encoding"])
    missing = dead("show", "000000000000", status=2)
    assert "There is no '000000000000' in" in missing
    assert "`rpi-health dead list` has ids" in missing


def test_long_body_is_cut_unless_all_is_asked_for(empty: Dead) -> None:
    empty.amqp.publish([b"x" * 10_000])
    empty.consume()
    (letter,) = empty.letters()
    assert "… and 6,000 more characters: --all" in empty("show", letter["id"])
    assert empty("show", letter["id"], "--all").count("x" * 90) >= 100


def test_retry_sends_messages_as_they_were_and_counts(dead: Dead) -> None:
    assert dead("retry", "--dry-run", "--reason", "bad_json") == f"Would send 2 messages to {dead.amqp.queue} again.\n"
    assert dead.count() == 6
    assert dead("retry", "--reason", "bad_json") == f"Sent 2 messages to {dead.amqp.queue} again.\n"
    wait_until(lambda: dead.count() == 4, 10, "the others to stay")
    again = dead.amqp.get_all()
    assert [body for _, body in again] == [BAD[0], BAD[3]]
    assert [properties.headers for properties, _ in again] == [{"x-rpi-health-retries": 1}] * 2
    assert {properties.delivery_mode for properties, _ in again} == {2}


def test_message_that_comes_back_is_sent_three_times_and_no_more(empty: Dead) -> None:
    empty.amqp.publish([b"bad"])
    for retries in range(4):
        empty.consume()
        wait_until(lambda: empty.count() == 1, 10, "the letter")
        (letter,) = empty.letters()
        assert letter["retries"] == retries
        said = empty("retry")
    assert said.splitlines() == [
        f"Sent 0 messages to {empty.amqp.queue} again.",
        "1 message came back 3 times: left where they are.",
    ]
    assert empty.count() == 1


def test_message_that_the_queue_does_not_take_stays_a_dead_letter(cli: Cli, amqp: Amqp, sqlite_url: str) -> None:
    amqp.declare(arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    dead = Dead(cli, amqp, sqlite_url)
    amqp.declare(amqp.dead_letter_queue)
    amqp.publish([b"one", b"two", b"three"], queue=amqp.dead_letter_queue)
    said = dead("retry", status=4)
    assert "did not take" in said
    wait_until(lambda: amqp.counts()[0] + dead.count() == 3, 10, "each message to be somewhere")
    bodies = [body for queue in (amqp.queue, amqp.dead_letter_queue) for _, body in amqp.get_all(queue)]
    assert sorted(bodies) == [b"one", b"three", b"two"]


def test_kill_while_messages_are_sent_again_loses_none(cli: Cli, amqp: Amqp, sqlite_url: str) -> None:
    amqp.declare()
    amqp.declare(amqp.dead_letter_queue)
    bodies = [b"bad %d" % number for number in range(20_000)]
    amqp.publish(bodies, queue=amqp.dead_letter_queue)
    dead = Dead(cli, amqp, sqlite_url)
    process = cli.popen("dead", "retry", env=dead.env)
    wait_until(lambda: amqp.counts()[0] > 0, 30, "the first to be sent")
    process.send_signal(signal.SIGKILL)
    process.wait(20)
    wait_until(lambda: amqp.counts()[0] + dead.count() >= len(bodies), 20, "each message to be somewhere")
    assert dead.count() > 0
    found = {body for queue in (amqp.queue, amqp.dead_letter_queue) for _, body in amqp.get_all(queue)}
    assert found == set(bodies)


def test_purge_asks_and_deletes_the_chosen(dead: Dead) -> None:
    queue = dead.amqp.dead_letter_queue
    assert f"Delete all messages in {queue}? [y/N]" in dead("purge", stdin="n\n", status=1)
    assert f"Delete the chosen messages in {queue}? [y/N]" in dead(
        "purge", "--reason", "bad_json", stdin="n\n", status=1
    )
    assert dead("purge", "--dry-run") == f"Would delete 6 messages from {queue}.\n"
    wait_until(lambda: dead.count() == 6, 10, "all to be back")
    assert dead("purge", "--yes", "--reason", "bad_json") == f"Deleted 2 messages from {queue}.\n"
    wait_until(lambda: dead.count() == 4, 10, "the others to be back")
    assert dead("purge", "--yes") == f"Deleted 4 messages from {queue}.\n"
    assert dead("list") == f"None in {queue}.\n"


def test_what_was_exported_can_be_brought_back(dead: Dead) -> None:
    properties = pika.BasicProperties(
        headers={"bytes": b"\xff", "$time": "boo", "nested": {"list": [1, None, True]}, "text": "é"},
        content_type="application/json",
        message_id="m-1",
        timestamp=1_769_850_000,
        priority=3,
    )
    dead.amqp.publish([b"with properties"], queue=dead.amqp.dead_letter_queue, properties=properties)
    before = dead("export", "-")
    lines = before.splitlines()
    assert lines[-1] == "Wrote 7 messages."
    exported = "".join(f"{line}\n" for line in lines[:-1])
    assert json.loads(lines[6])["reason"] == "unknown"
    dead("purge", "--yes")
    assert dead("import", "-", stdin=exported) == "7 of 7 confirmed by the broker.\n"
    again = dead("export", "-").splitlines()
    assert [without_id(line) for line in again[:-1]] == [without_id(line) for line in lines[:-1]]


def without_id(line: str) -> dict[str, Any]:
    return {name: value for name, value in json.loads(line).items() if name != "id"}


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"body": 1}', '{"body_base64": "?"}', "{}", '{"body": "x", "properties": {"no": 1}}', "1"]
)
def test_line_that_was_not_exported_is_named_and_nothing_is_brought_back(empty: Dead, line: str) -> None:
    said = empty("import", "-", stdin=f"\n{line}\n", status=2)
    assert "line 2: " in said
    assert "Traceback" not in said


def test_queue_that_is_missing_is_empty(empty: Dead) -> None:
    queue = empty.amqp.dead_letter_queue
    assert empty("list") == f"None in {queue}.\n"
    assert empty("list", "--json") == "[]\n"
    assert empty("retry") == f"Sent 0 messages to {empty.amqp.queue} again.\n"


def test_header_that_rpi_health_did_not_write_is_shown_as_text(empty: Dead) -> None:
    empty.amqp.declare(empty.amqp.dead_letter_queue)
    hostile = {"x-rpi-health-reason": "\x1b[2J", "x-rpi-health-retries": "many", "x-rpi-health-detail": 7}
    empty.amqp.publish([b"{}"], queue=empty.amqp.dead_letter_queue, properties=pika.BasicProperties(headers=hostile))
    shown = empty("list")
    assert "\x1b" not in shown
    assert "\\x1b[2J" in shown
    assert empty("retry") == f"Sent 1 message to {empty.amqp.queue} again.\n"


def test_ids_tell_letters_apart() -> None:
    letter = DeadLetter(1, "bad_json", "", "q", "2026-01-01T00:00:00.000+00:00", False, 0, Properties(), b"x")
    others = [letter._replace(body=b"y"), letter._replace(reason="poison"), letter._replace(received_at="")]
    others.append(letter._replace(properties=Properties(message_id="m")))
    assert len({each.id for each in (letter, *others)}) == 5
    assert letter._replace(tag=2, retries=1).id == letter.id


def names() -> st.SearchStrategy[Any]:
    return st.sampled_from(["$bytes", "$time", "$table", "$", "a"]) | st.text(max_size=9) | st.binary(max_size=9)


HEADERS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.text(max_size=20)
    | st.binary(max_size=20)
    | st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2090, 1, 1)).map(
        lambda at: at.replace(microsecond=0, tzinfo=timezone.utc)
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(names(), HEADERS, max_size=4), st.binary(max_size=50), st.none() | st.integers(0, 255))
def test_line_says_all_of_a_letter(headers: dict[Any, Any], body: bytes, priority: int | None) -> None:
    properties = Properties(headers=headers or None, priority=priority, message_id="m")
    letter = DeadLetter(0, "bad_json", "d", "q", "2026-01-01T00:00:00+00:00", True, 2, properties, body)
    line = to_line(letter)
    assert line.isascii()
    assert "\n" not in line
    assert from_line(line) == letter


@pytest.mark.parametrize(
    "changes",
    [
        {"retries": None},
        {"redelivered": 1},
        {"reason": "\ud800"},
        {"reason": 7},
        {"detail": "x" * 1001},
        {"properties": {"priority": 256}},
        {"properties": {"priority": "1"}},
        {"properties": {"timestamp": -1}},
        {"properties": {"headers": "x"}},
        {"properties": {"headers": {"$text": "all", "b": {"$bytes": 5}}}},
        {"properties": {"headers": {"x": {"$time": 7}}}},
        {"properties": {"headers": {"x": {"$time": "boo"}}}},
        {"properties": {"headers": {"$bytes": "YQ=="}}},
        {"properties": {"message_id": "x" * 256}},
        {"properties": []},
        {"properties": {"unknown": 1}},
    ],
    ids=repr,
)
def test_line_that_amqp_could_not_carry_is_refused(changes: dict[str, Any]) -> None:
    letter = DeadLetter(0, "bad_json", "d", "q", "2026-01-01T00:00:00+00:00", True, 2, Properties(), b"x")
    with pytest.raises(ValueError, match=r"."):
        from_line(json.dumps({**json.loads(to_line(letter)), **changes}))
