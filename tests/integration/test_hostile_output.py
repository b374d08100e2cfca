"""Whatever a message or an argument holds, nothing comes out that acts on a terminal, forges a line or is markup.

A real broker and the installed command; its output is judged byte by byte. What is safe is defined here a second time,
from Unicode's own categories, and not by the product's `rpi_health.text`.
"""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pika
import pytest
from rich.cells import cell_len

from rpi_health import migrations
from rpi_health.cli import main
from rpi_health.logs import JsonLineFormatter, TextLineFormatter, redactor
from tests.amqp import PERSISTENT, Amqp
from tests.command import Terminal
from tests.conftest import fresh_name
from tools.servers import PostgreSQL, RabbitMQ

FORGED_LINE = "2026-01-01T00:00:00Z ERROR forged  event=forged"

#: What devices send, by what it would do to a reader that believes it.
TEXTS = {
    "clear the screen": "a\x1b[2J\x1b[31mred",
    "hyperlink": "\x1b]8;;https://x.example\x1b\\click\x1b]8;;\x1b\\",
    "window title": "\x1b]0;title\x07",
    "device control string": "\x1bP1$r0m\x1b\\",
    "8-bit CSI": "\x9b31mred",
    "8-bit OSC": "\x9d0;title\x9c",
    "carriage return": "good\rbad",
    "line feed": f"x\n{FORGED_LINE}",
    "both line ends": f"x\r\n{FORGED_LINE}",
    "next line": f"x\x85{FORGED_LINE}",
    "line separator": f"x\u2028{FORGED_LINE}",
    "paragraph separator": f"x\u2029{FORGED_LINE}",
    "vertical tab and form feed": "a\x0bb\x0cc",
    "tab": "a\tb",
    "backspace": "good\b\b\b\bevil",
    "NUL": "a\x00b",
    "DEL": "a\x7fb",
    "quote": 'x" event=forged y="',
    "escaped quote": '\\" event=forged y="',
    "backslash at the end": "two words\\",
    "JSON": '","event":"forged","y":"',
    "right-to-left override": "a\u202egpj.exe",
    "bidi embeddings": "\u202aa\u202bb\u202cc\u202d",
    "bidi isolates": "\u2066a\u2067b\u2068c\u2069",
    "bidi marks": "a\u200eb\u200fc\u061cd",
    "zero width": "a\u200bb\u200cc\u200dd\u2060e\ufefff",
    "soft hyphen": "a\u00adb",
    "tag characters": "a\U000e0001\U000e0041\U000e007f",
    "variation selectors": "a\ufe00b\U000e0100c",
    "fillers": "a\u3164b\u115f\u1160c\uffa0\u034f",
    "annotations": "a\ufff9b\ufffac\ufffb",
    "noncharacters": "a\uffffb\ufdd0c\U0010ffff",
    "private use": "a\ue000b\U00100000",
    "half a surrogate pair": "a\ud800b\udfff",
    "colour markup": "[red]x[/red]",
    "link markup": "[link=https://x.example]x[/link]",
    "closing markup": "[/]",
    "action markup": "[@click=app.bell]x[/]",
    "emoji code": ":boom:",
    "emoji": "🍓❤️🇧🇷",
    "joined emoji": "👩\u200d💻",
    "combining run": "a" + "\u0301\u0316" * 30,
    "wide": "温度計",
    "very long": "x" * 5000,
    "formula": "=cmd|'/C calc'!A1",
    "SQL": "'; DROP TABLE device_status; --",
}
#: Which of them get into a log line as they are announced in a property. Five a run are logged of one reason.
ENCODINGS = (
    ("clear the screen", "hyperlink", "8-bit CSI", "escaped quote", "line feed"),
    ("right-to-left override", "line separator", "quote", "next line", "zero width"),
    ("tag characters", "backslash at the end", "bidi isolates", "variation selectors", "JSON"),
    ("DEL", "backspace", "colour markup", "combining run", "fillers"),
)
#: Short, for places that show only the beginning of what was typed. As an argument it cannot hold NUL.
WORST = "\x1b[2J\x9b31m\r\n\b\x7f\u202e\u2066\u200b\u2028\U000e0041\ufe00\x1b]8;;u\x1b\\[red]x[/]"

#: Columns in which nothing has to be cut.
WIDE = 1000
LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")

_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0d\uffa0\U000e0100-\U000e01ef]")
_STYLE = re.compile(r"\x1b\[[0-9;]*m")
#: What rich's progress bar needs besides: hide and show the cursor, one line up, erase the line.
_BAR = re.compile(r"\x1b\[\?25[lh]|\x1b\[1A|\x1b\[2K|\r")


def unsafe(output: bytes) -> list[str]:
    """What in an output is more than a character with a glyph of its own, a blank, or a line feed."""
    return [
        f"U+{ord(char):04X}"
        for char in output.decode("utf-8")
        if char != "\n"
        and (unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") or _INVISIBLE.match(char))
    ]


def unstyled(shown: str) -> bytes:
    """What a terminal got, without styles and with its line ends as written."""
    return _STYLE.sub("", shown).replace("\r\n", "\n").encode()


# ── The messages ──────────────────────────────────────────────────────────────────────────────────────────────────────


def reports() -> Iterator[dict[str, Any]]:
    """Health checks: each text in each place of one, and as an id, which the contract accepts or not."""
    for name, text in TEXTS.items():
        yield {"id": text}
        yield {
            "id": f"pi {name}",
            "wifi_status": text,
            "cpu_temp": text,
            "mem_usage": text,
            "cpu_percent": text,
            "led_internal_status": text,
            "timestamp": text,
            "spi_buses": [text],
            "net_ifaces": [{"name": text, "ip": text}, {text: "192.168.0.10"}],
            text: text,
            "nested": {text: [text]},
        }


def properties(text: str) -> pika.BasicProperties:
    """Each property that a producer may choose, set to this text."""
    short = text.encode("utf-8", "replace")[:200].decode("utf-8", "ignore")
    return pika.BasicProperties(
        content_type=short,
        headers={short: short, "timestamp_in_ms": short, "nested": {short: [short]}},
        correlation_id=short,
        reply_to=short,
        message_id=short,
        type=short,
        app_id=short,
        delivery_mode=2,
    )


def announced(text: str) -> pika.BasicProperties:
    """A content encoding that nobody knows: the one property that a dead letter's detail tells."""
    return pika.BasicProperties(content_encoding=text, delivery_mode=2)


BAD_BODIES = {
    "not JSON": b"\x1b[2J \xe2\x80\xae not json",
    "not UTF-8": b"\xff\xfe\xff\x1b[2J",
    "no object": b'"\\u001b[2J"',
    "no id": '{"wifi_status": "\u202e"}'.encode(),
    "blank id": '{"id": "\u3000"}'.encode(),
    "id twice": b'{"id": "\\u001b[2J", "id": "\\u202e"}',
    "long id": json.dumps({"id": "\u202e" * 200}).encode(),
    "deep": b'{"\\u001b[2J": ' + b"[" * 40 + b"]" * 40 + b"}",
}


class World(NamedTuple):
    """What became of all those messages."""

    cli: Terminal
    env: dict[str, str]
    outputs: dict[tuple[str, str], subprocess.CompletedProcess[bytes]]
    dead_letters: list[tuple[pika.BasicProperties, bytes]]
    sent: int


@pytest.fixture(scope="module")
def world(rabbitmq: RabbitMQ, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The messages, consumed once for each level and format of the log."""
    rabbitmq.ensure_running()
    amqp, folder = Amqp(rabbitmq, fresh_name("test")), tmp_path_factory.mktemp("cli")
    env = {**amqp.env, "RPI_HEALTH_DATABASE_URL": f"sqlite:///{folder / 'fleet.db'}"}
    migrations.upgrade(env["RPI_HEALTH_DATABASE_URL"])
    cli, outputs, sent = Terminal(folder), {}, 0
    amqp.declare()
    for log_format, groups in zip(FORMATS, (ENCODINGS, ENCODINGS[::-1])):
        for level, encodings in zip(LEVELS, groups):
            sent += send_all(amqp, [TEXTS[name] for name in encodings])
            options = ("--log-format", log_format, "--log-level", level)
            outputs[log_format, level] = cli.output_of("consume", "--until-empty", *options, env=env)
    yield World(cli, env, outputs, amqp.get_all(amqp.dead_letter_queue), sent)
    amqp.delete()


def send_all(amqp: Amqp, encodings: Sequence[str]) -> int:
    """Publish them all. Returns how many."""
    messages = [(b"\x1b not json", announced(text)) for text in encodings]
    messages += [(body, PERSISTENT) for body in BAD_BODIES.values()]
    messages += [(json.dumps(report).encode(), PERSISTENT) for report in reports()]
    messages += [(json.dumps({"id": "plain"}).encode(), properties(text)) for text in TEXTS.values()]
    with amqp.channel() as channel:
        channel.tx_select()
        for body, its_properties in messages:
            channel.basic_publish("", amqp.queue, body, its_properties)
        channel.tx_commit()
    return len(messages)


def header(sent: pika.BasicProperties, name: str) -> Any:
    """What rpi-health says in a header of a dead letter."""
    return (sent.headers or {})[f"x-rpi-health-{name}"]


# ── Log lines ─────────────────────────────────────────────────────────────────────────────────────────────────────────

#: As those read it who take text lines apart: a backslash takes the special meaning from what follows it.
_FIELD = r'[a-z_]+=(?:"(?:[^"\\]|\\.)*"|[^\s"=]+)'
_LINE = re.compile(
    rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ (?:DEBUG|INFO |WARN |ERROR|FATAL) (\S.*?)(?:  ({_FIELD}(?: {_FIELD})*))?"
)
_OURS = {"Consuming.": ["queue", "broker"], "Dead-lettered a message.": ["reason", "detail"]}


def fields_of(line: str) -> tuple[str, list[str]]:
    """The sentence and the names of the fields of a text line."""
    match = _LINE.fullmatch(line)
    assert match, line
    return match[1], [field.partition("=")[0] for field in re.findall(_FIELD, match[2] or "")]


def test_each_message_is_stored_or_dead_lettered(world: World) -> None:
    assert {key: done.returncode for key, done in world.outputs.items()} == dict.fromkeys(world.outputs, 0)
    stopped = json.loads(world.outputs["json", "info"].stderr.splitlines()[-1])
    assert stopped["event"] == "stopped"
    assert stopped["stored"] > 2 * len(TEXTS)
    assert len(world.outputs) * stopped["stored"] + len(world.dead_letters) == world.sent
    assert {header(sent, "reason") for sent, _ in world.dead_letters} == {
        *("bad_content_encoding", "bad_json", "bad_encoding", "not_object", "missing_device_id", "bad_device_id"),
        "too_deep",
    }


@pytest.mark.parametrize("log_format", FORMATS)
@pytest.mark.parametrize("level", LEVELS)
def test_log_of_hostile_messages_holds_only_text(world: World, log_format: str, level: str) -> None:
    done = world.outputs[log_format, level]
    assert unsafe(done.stderr) == []
    assert done.stdout == b""
    assert (b"bad_content_encoding" in done.stderr) is (level != "error")


@pytest.mark.parametrize("level", LEVELS)
def test_message_cannot_forge_a_text_line_or_a_field(world: World, level: str) -> None:
    for line in world.outputs["text", level].stderr.decode().split("\n")[:-1]:
        sentence, fields = fields_of(line)
        assert fields == _OURS.get(sentence, fields)
        assert "event" not in fields
        assert "forged" not in sentence


@pytest.mark.parametrize("level", LEVELS)
def test_message_cannot_forge_a_json_line_or_a_field(world: World, level: str) -> None:
    for line in world.outputs["json", level].stderr.decode().split("\n")[:-1]:
        record = json.loads(line, object_pairs_hook=unique)
        assert record["event"] in (None, "consuming", "dead_lettered", "stopped")
        if record["event"] == "dead_lettered":
            assert list(record)[5:] == ["reason", "detail"]


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs), pairs
    return dict(pairs)


def record_of(text: str) -> logging.LogRecord:
    """A record that says a text in every place, and in a traceback."""
    logger = logging.getLogger("rpi_health.test")
    try:
        try:
            raise KeyError(text)
        except KeyError as error:
            raise ValueError(text) from error
    except ValueError:
        why = sys.exc_info()
    return logger.makeRecord(logger.name, logging.ERROR, __file__, 1, "%s", (text,), why, extra={"value": text, "n": 1})


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_any_text_in_a_record_stays_in_its_text_line(text: str) -> None:
    line, *traceback = TextLineFormatter(redactor(())).format(record_of(text)).split("\n")
    assert unsafe("\n".join([line, *traceback]).encode()) == []
    assert fields_of(line)[1][-2:] == ["value", "n"]
    # Every line of a traceback shows that it is none of the log's own.
    assert [each for each in traceback if not each.startswith("  ")] == []


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_any_text_in_a_record_stays_in_its_json_field(text: str) -> None:
    line = JsonLineFormatter(redactor(())).format(record_of(text))
    assert unsafe(line.encode()) == []
    assert "\n" not in line
    keys = {"time", "level", "logger", "event", "message", "value", "n", "exc_info"}
    assert set(json.loads(line, object_pairs_hook=unique)) == keys


# ── Dead letters ──────────────────────────────────────────────────────────────────────────────────────────────────────


def assert_safe_detail(detail: Any) -> None:
    assert isinstance(detail, str)
    assert 0 < len(detail) <= 300
    assert unsafe(detail.encode()) == []
    assert "\n" not in detail


def test_detail_of_a_dead_letter_is_short_and_safe_to_print(world: World) -> None:
    for sent, _ in world.dead_letters:
        assert_safe_detail(header(sent, "detail"))


REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION '%', NEW.wifi_status; END $$;
CREATE TRIGGER picky BEFORE INSERT ON device_status FOR EACH ROW EXECUTE FUNCTION refuse();
"""


@pytest.mark.parametrize("log_format", FORMATS)
def test_database_that_quotes_a_message_does_no_harm(
    amqp: Amqp, postgresql: PostgreSQL, postgresql_url: str, tmp_path: Path, log_format: str
) -> None:
    migrations.upgrade(postgresql_url)
    postgresql.psql(REFUSE, postgresql_url.rpartition("/")[2])
    amqp.publish({"id": f"pi {name}", "wifi_status": f"{text}{WORST}"} for name, text in TEXTS.items())
    env = {**amqp.env, "RPI_HEALTH_DATABASE_URL": postgresql_url, "RPI_HEALTH_LOG_FORMAT": log_format}
    done = Terminal(tmp_path).output_of("consume", "--until-empty", "--log-level=debug", env=env)
    dead_letters = amqp.get_all(amqp.dead_letter_queue)
    assert len(dead_letters) == len(TEXTS)
    for sent, _ in dead_letters:
        assert header(sent, "reason") == "db_rejected"
        assert_safe_detail(header(sent, "detail"))
    assert unsafe(done.stderr) == []
    assert done.stderr.count(b"Dead-lettered a message.") == len(TEXTS)  # in debug, each has its line
    for line in done.stderr.decode().split("\n")[:-1]:
        json.loads(line, object_pairs_hook=unique) if log_format == "json" else fields_of(line)


# ── The fleet ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_json_of_the_fleet_is_one_safe_line_that_says_everything(world: World) -> None:
    done = world.cli.output_of("status", "--json", env=world.env)
    assert unsafe(done.stdout) == []
    assert done.stdout.count(b"\n") == 1
    fleet = {device["raspberry_id"]: device for device in json.loads(done.stdout, object_pairs_hook=unique)}
    for name in ("right-to-left override", "tag characters", "variation selectors", "fillers", "colour markup"):
        assert fleet[f"pi {name}"]["wifi_status"] == TEXTS[name]
        assert fleet[f"pi {name}"]["extra"][TEXTS[name]] == TEXTS[name]


class Tables(NamedTuple):
    """The fleet as `status` shows it on a narrow and on a wide terminal, and in a pipe of these widths."""

    terminal: dict[int, str]
    pipe: dict[int, bytes]


@pytest.fixture(scope="module")
def tables(world: World) -> Tables:
    terminal = {columns: world.cli.on_terminal("status", columns=columns, env=world.env) for columns in (80, WIDE)}
    pipe = {}
    for columns in (80, WIDE):
        done = world.cli.output_of("status", env={**world.env, "COLUMNS": str(columns)})
        assert (done.returncode, done.stderr) == (0, b"")
        pipe[columns] = done.stdout
    return Tables(terminal, pipe)


@pytest.mark.parametrize("columns", [80, WIDE])
def test_terminal_gets_nothing_from_devices_but_text(tables: Tables, columns: int) -> None:
    shown = tables.terminal[columns]
    assert _STYLE.search(shown)
    assert unsafe(unstyled(shown)) == []


@pytest.mark.parametrize("columns", [80, WIDE])
def test_pipe_gets_nothing_from_devices_but_text(tables: Tables, columns: int) -> None:
    assert unsafe(tables.pipe[columns]) == []


def test_terminal_and_pipe_get_the_same_text(tables: Tables) -> None:
    def rows(shown: bytes) -> list[str]:
        # One is shown after the other: ages differ, and with them how wide their column is.
        aged = (re.sub(r"\d+ \w+ ago", "", row) for row in shown.decode().splitlines())
        return [re.sub(r" {2,}|─+", "  ", row).rstrip() for row in aged]

    assert rows(unstyled(tables.terminal[WIDE])) == rows(tables.pipe[WIDE])


def first_cells(table: str) -> list[str]:
    """What stands in the first column of a table."""
    heading, _, *rows = table.splitlines()
    assert heading.startswith("Device ")
    width = heading.index("State")
    return [clip(row, width).rstrip() for row in rows[:-4]]


def clip(row: str, cells: int) -> str:
    """The part of a row that takes so many cells of a terminal."""
    clipped = ""
    for char in row:
        cells -= cell_len(char)
        if cells < 0:
            break
        clipped += char
    return clipped


def test_devices_that_are_stored_apart_are_shown_apart(world: World, tables: Tables) -> None:
    done = world.cli.output_of("status", "--json", env=world.env)
    ids = [device["raspberry_id"] for device in json.loads(done.stdout)]
    assert len(set(ids)) == len(ids)
    assert len(ids) > 1.2 * len(TEXTS)
    shown = first_cells(tables.pipe[WIDE].decode())
    assert len(shown) == len(ids)
    assert len(set(shown)) == len(shown)


@pytest.mark.parametrize("name", ["colour markup", "link markup", "closing markup", "action markup", "emoji code"])
def test_markup_is_shown_as_it_was_sent(tables: Tables, name: str) -> None:
    text = TEXTS[name]
    rows = tables.pipe[WIDE].decode().splitlines()
    assert len([row for row in rows if row.startswith(f"{text} ")]) == 1
    (row,) = [row for row in rows if row.startswith(f"pi {name} ")]
    assert f" {text} " in row


# ── Arguments, files and the environment ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home and working folder, for running the command line in this process."""
    for name in [name for name in os.environ if name.startswith(("RPI_HEALTH_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "etc"))
    monkeypatch.chdir(tmp_path)
    loggers = [logging.getLogger(name) for name in ("rpi_health", "pika")]
    saved = [(each, each.level, each.propagate, each.handlers[:]) for each in loggers]
    yield tmp_path
    for logger, level, propagate, handlers in saved:
        logger.setLevel(level)
        logger.propagate, logger.handlers = propagate, handlers


def run(capfd: pytest.CaptureFixture[str], *args: str) -> tuple[object, bytes]:
    """Run the command line in this process. Returns its exit status and all that it wrote."""
    with pytest.raises(SystemExit) as exited:
        main(list(args), prog_name="rpi-health")
    out, err = capfd.readouterr()
    return exited.value.code, (out + err).encode()


@pytest.mark.parametrize(
    ("status", "args"),
    [
        (2, [WORST]),
        (2, ["status", WORST]),
        (2, ["status", f"--{WORST}"]),
        (2, ["publish-test", "--count", WORST]),
        (2, ["publish-test", "--set", WORST]),
        (2, ["publish-test", "--set", f"{WORST}={WORST}"]),
        (2, ["publish-test", "--file", WORST]),
        (2, ["publish-test", "--file", "\udcff\udc9b31m"]),
        (3, ["status", "--config", WORST]),
        (3, ["status", "--log-level", WORST]),
        (3, ["status", "--log-format", WORST]),
        (3, ["status", "--queue", WORST]),
        (3, ["status", "--queue-type", WORST]),
        (3, ["status", "--amqp-url", WORST]),
        (3, ["status", "--amqp-url", f"amqp://{WORST}@{WORST}/{WORST}"]),
        (3, ["status", "--database-url", WORST]),
        (6, ["status", "--database-url", f"sqlite:///{WORST}"]),
        (5, ["init-db", "--database-url", f"sqlite:////dev/null/{WORST}/x"]),
        (3, ["status", "--database-url", f"postgresql://{WORST}@127.0.0.1:1/{WORST}"]),
        (5, ["status", "--database-url", "mysql://a%1b%9b@127.0.0.1:1/%1b%5b2J%0a%e2%80%ae"]),
        (4, ["publish-test", "--amqp-url", "amqp://127.0.0.1:1/%1b%5b2J%0a%e2%80%ae", "--id", WORST]),
    ],
    ids=ascii,
)
def test_argument_is_shown_as_text_only(
    home: Path, capfd: pytest.CaptureFixture[str], status: int, args: list[str]
) -> None:
    found, output = run(capfd, *args)
    assert found == status
    assert output
    assert unsafe(output) == []


@pytest.mark.parametrize("log_format", FORMATS)
def test_name_of_a_variable_is_shown_as_text_only(
    home: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, log_format: str
) -> None:
    monkeypatch.setenv(f"RPI_HEALTH_{WORST}", WORST)
    _, output = run(capfd, "status", "--log-format", log_format)
    assert b"Unknown environment variable" in output
    assert unsafe(output) == []


@pytest.mark.parametrize("line", ["{} = 1", "[{}]"], ids=["key", "table"])
def test_key_of_the_config_file_is_shown_as_text_only(home: Path, capfd: pytest.CaptureFixture[str], line: str) -> None:
    key = "".join(f"\\U{ord(char):08X}" for char in WORST)
    (home / "own.toml").write_text(line.format(f'"{key}"'))
    status, output = run(capfd, "status", "--config", "own.toml")
    assert status == 3
    assert b"unknown key" in output
    assert unsafe(output) == []


def test_tables_in_a_file_of_any_name_are_made_without_a_word_of_it_acting(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{home}/{WORST.replace('/', '')}"
    for args in (["init-db", "--check"], ["init-db"], ["init-db"], ["status"], ["status", "--json"]):
        _, output = run(capfd, *args, "--database-url", url)
        assert output
        assert unsafe(output) == []


#: Found before the real module of this name. It fails as any library may: with what it was given.
FAILING = f"raise RuntimeError({WORST + chr(10) + FORGED_LINE + chr(10) + 'Error: forged'!a})"


def test_message_of_an_exception_cannot_forge_a_line(tmp_path: Path) -> None:
    (tmp_path / "pika.py").write_text(FAILING)
    done = Terminal(tmp_path).output_of("publish-test", env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1
    assert unsafe(done.stderr) == []
    own = [line for line in done.stderr.decode().split("\n")[:-1] if not line.startswith("  ")]
    assert own == ["Error: this was not expected. Please report it, with the lines above."]
    assert FORGED_LINE.encode() in done.stderr


# ── publish-test ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("level", LEVELS)
def test_published_text_comes_out_nowhere(amqp: Amqp, tmp_path: Path, level: str) -> None:
    cli = Terminal(tmp_path)
    values = ("--set", f"wifi_status={json.dumps(WORST)}", "--set", f"{WORST}={json.dumps(WORST)}")
    done = cli.output_of("publish-test", "--id", WORST, *values, "--log-level", level, env=amqp.env)
    assert done.returncode == 0
    assert b"1 of 1 confirmed" in done.stderr
    assert unsafe(done.stdout + done.stderr) == []


def test_published_file_comes_out_nowhere(amqp: Amqp, tmp_path: Path) -> None:
    (tmp_path / "bodies").write_bytes(b"\x1b[2J\n\xff\x9b31m\n" + WORST.encode())
    done = Terminal(tmp_path).output_of("publish-test", "--file", "bodies", env=amqp.env)
    assert done.returncode == 0
    assert unsafe(done.stdout + done.stderr) == []


def test_progress_bar_shows_nothing_of_what_is_published(amqp: Amqp, tmp_path: Path) -> None:
    args = ("publish-test", "--id", WORST, "--count", "25", "--rate", "15")
    shown = Terminal(tmp_path).on_terminal(*args, columns=80, env=amqp.env)
    assert "Publishing" in shown
    assert _BAR.search(shown)
    assert unsafe(_BAR.sub("", unstyled(shown).decode()).encode()) == []


def test_log_on_a_terminal_holds_only_text(amqp: Amqp, sqlite_url: str, tmp_path: Path) -> None:
    migrations.upgrade(sqlite_url)
    amqp.declare()
    send_all(amqp, [TEXTS[name] for name in ENCODINGS[0]])
    env = {**amqp.env, "RPI_HEALTH_DATABASE_URL": sqlite_url}
    shown = Terminal(tmp_path).on_terminal("consume", "--until-empty", "--log-level=debug", columns=80, env=env)
    assert "Dead-lettered a message." in shown
    assert unsafe(shown.replace("\r\n", "\n").encode()) == []


# ── The check itself ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "char",
    [*"\x00\x07\x08\r\x1b\x7f\x85\x9b\u061c\u200b\u200e\u2028\u202e\u2066\ufe00\ue000\uffff\U000e0041", "\t"],
    ids=ascii,
)
def test_check_finds_what_is_unsafe(char: str) -> None:
    assert unsafe(f"plain {char} text\n".encode()) == [f"U+{ord(char):04X}"]


def test_check_lets_text_pass() -> None:
    assert unsafe("é 温度計 🍓❤️ [red] 48°C … ─ \u3000\n".encode()) == []
