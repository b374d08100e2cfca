"""The documentation, under test: its commands and programs run, and what it lists is what there is.

How a fenced block is treated follows from its language:

- `console`: every line that begins with `$ ` is run, in order, in the home of a new user with a real broker. It must
  exit 0, and write what is shown below it, as `pages.is_shown` has it. Nothing shown: nothing compared.
- `python`: must compile.  `toml`: must be right settings.  `json`: must be a report that gives no warning.
- `yaml`: must be a YAML document.
- `sh`: what installs or changes a machine; its syntax is checked.  `text`, `ini`: for reading.  `sql`: run by a test
  of its own.  What is in braces is for Sphinx: see test_site.py.

A comment on the line before a block, as in `<!-- runs -->`, says more; see `tests.reader.MARKS`.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml

from rpi_health import config, errors
from rpi_health.broker import as_outgoing
from rpi_health.cli.group import COMMANDS
from rpi_health.delivery import Delivery, Letter, Properties
from rpi_health.payload import decode
from rpi_health.report import Envelope, Report, State
from rpi_health.settings import SETTINGS
from tests.amqp import Amqp
from tests.pages import PAGES, ROOT, Block, anchors, blocks_of, commands_of, is_shown, links, name_of, names, table
from tests.reader import AFTER_KILL, MARKS, SAVED, Reader, runs
from tests.waiting import wait_until
from tools import docs
from tools.servers import RabbitMQCluster

LANGUAGES = {"console", "python", "toml", "json", "sh", "text", "ini", "sql", "yaml"}
DIRECTIVES = {"{toctree}", "{include} ../CHANGELOG.md", "{eval-rst}"}

MESSAGES = ROOT / "docs" / "message-format.md"
CONFIGURATION = ROOT / "docs" / "configuration.md"
BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def in_language(*languages: str) -> pytest.MarkDecorator:
    chosen = [block for block in BLOCKS if block.language in languages]
    return pytest.mark.parametrize("block", chosen, ids=str)


# ── What the pages tell to do ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def reader(tmp_path: Path, amqp: Amqp) -> Iterator[Reader]:
    folder = tmp_path / "home"
    folder.mkdir()
    somebody = Reader(folder, amqp)
    yield somebody
    somebody.close()


def make_the_examples_database(folder: Path) -> None:
    columns = (
        "id INTEGER NOT NULL PRIMARY KEY, raspberry_id VARCHAR NOT NULL UNIQUE, wifi_status VARCHAR, mem_usage VARCHAR,"
        "cpu_temp VARCHAR, led_internal_status BOOLEAN, led_external_status BOOLEAN, cpu_percent FLOAT,"
        "gpio_used_count INTEGER, spi_buses TEXT, i2c_buses TEXT, usb_devices_count INTEGER, net_bytes_sent INTEGER,"
        "net_bytes_recv INTEGER, net_ifaces TEXT, last_update DATETIME"
    )
    then = datetime.now(timezone.utc).replace(tzinfo=None) - timedelta(days=5, hours=1)
    devices = [(f"raspberry-0{n}", "48°C", '["spi0.0"]', str(then + timedelta(minutes=n))) for n in (1, 2, 3)]
    insert = "INSERT INTO device_status (raspberry_id, cpu_temp, spi_buses, last_update) VALUES (?, ?, ?, ?)"
    connection = sqlite3.connect(folder / "db.sqlite3")
    with connection:
        connection.execute(f"CREATE TABLE device_status ({columns})")
        connection.executemany(insert, devices)
    connection.close()


def kill_first_node(cluster: RabbitMQCluster, queue: str) -> None:
    """Kill it, and wait until the others have agreed on who leads the queue: until then, messages are refused."""
    cluster.nodes[0].kill()
    wait_until(lambda: cluster.leader(queue) is not cluster.nodes[0], 30, "another leader")


@pytest.mark.parametrize("page", [page for page in PAGES if any(map(runs, blocks_of(page)))], ids=name_of)
def test_commands_and_programs_do_what_the_page_shows(
    page: Path, reader: Reader, request: pytest.FixtureRequest
) -> None:
    for block in filter(runs, blocks_of(page)):
        if block.mark == "on postgresql":
            reader.env["RPI_HEALTH_DATABASE_URL"] = request.getfixturevalue("postgresql_url")
        if block.mark == "on a cluster":
            reader.move_to(request.getfixturevalue("cluster"))
        if block.mark == AFTER_KILL:
            kill_first_node(request.getfixturevalue("cluster"), reader.queue)
        if block.mark == "in a folder with the example's database":
            make_the_examples_database(reader.folder)
            reader.env["RPI_HEALTH_DATABASE_URL"] = "sqlite:///db.sqlite3"
        reader.follow(block)


def test_the_table_in_the_readme_is_the_demos(reader: Reader) -> None:
    (block,) = (block for block in BLOCKS if block.mark == "the end of make demo")
    reader.env["PYTHONPATH"] = str(ROOT)
    written = reader.run(sys.executable, "-m", "tools.demo")
    assert is_shown("…\n" + block.text, written), written


def test_quickstart_is_the_same_in_portuguese() -> None:
    original, translation = (blocks_of(ROOT / "docs" / name) for name in ("quickstart.md", "pt-BR/quickstart.md"))
    to_do = [[(block.mark, block.text) for block in page if runs(block)] for page in (original, translation)]
    assert to_do[0] == to_do[1]


@in_language("sh")
def test_shell_commands_have_no_syntax_error(block: Block) -> None:
    subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)


@in_language("python")
def test_program_compiles(block: Block) -> None:
    compile(block.text, str(block), "exec")


@in_language("toml")
def test_config_file_is_right(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(block.text)
    assert not config.read(config_file=path, environ={}).notices


@in_language("yaml")
def test_yaml_can_be_read(block: Block) -> None:
    assert isinstance(yaml.safe_load(block.text), dict)


def judged(body: str) -> Report:
    return decode(body.encode(), Envelope(datetime.now(timezone.utc), b"delivery"))


@in_language("json")
def test_report_gives_no_warning(block: Block) -> None:
    state = judged(block.text).state
    assert (state.report_warnings, state.extra) == (None, None)


# ── What the pages list ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("body", "verdict"), table(MESSAGES, "What becomes of a message"))
def test_message_becomes_what_the_page_says(body: str, verdict: str) -> None:
    if verdict.startswith("stored"):
        has_warnings = judged(body).state.report_warnings is not None
        assert has_warnings == ("with a warning" in verdict)
        return
    with pytest.raises(errors.Rejection) as rejection:
        judged(body)
    assert rejection.value.reason == verdict


def test_every_reason_is_explained() -> None:
    assert names(MESSAGES, "Reasons") == set(errors.REASONS)


def test_every_header_of_a_dead_letter_is_explained() -> None:
    session: Any = None
    delivery = Delivery(session, 1, False, False, datetime.now(timezone.utc), Properties(), b"")
    headers = as_outgoing(Letter(delivery, "bad_json", "detail"), "rasp_data").own_headers
    assert names(MESSAGES, "Headers of a dead letter") == set(headers)


def test_every_key_of_a_message_is_explained() -> None:
    listed = names(MESSAGES, "What to send") - {"any other"}
    report = judged(json.dumps({**dict.fromkeys(listed), "id": "pi"}))
    kept_elsewhere = {name for bit, name in enumerate(State._fields) if not report.present >> bit & 1}
    assert report.state.extra is None
    assert kept_elsewhere == {"extra"}


def test_every_setting_is_explained() -> None:
    text = CONFIGURATION.read_text()
    assert names(CONFIGURATION, "Settings") == {setting.name for setting in SETTINGS}
    for setting in SETTINGS:
        assert f"`{setting.environment}`" in text
        assert not setting.from_file or f"`{setting.file_environment}`" in text
        assert not setting.metavar or f"`{setting.flag}`" in text


def test_every_command_is_run_and_explained() -> None:
    consoles = [block for block in BLOCKS if block.language == "console"]
    words = {word for block in consoles for command in commands_of(block) for word in command.line.split()}
    assert set(COMMANDS) <= words
    assert set(COMMANDS) <= names(CONFIGURATION, "Commands")


def kinds_of(error: type[errors.RpiHealthError]) -> Iterator[type[errors.RpiHealthError]]:
    yield error
    for kind in error.__subclasses__():
        yield from kinds_of(kind)


def test_every_exit_status_is_explained() -> None:
    done, usage = 0, 2
    statuses = {done, usage, *(kind.exit_status for kind in kinds_of(errors.RpiHealthError))}
    assert names(CONFIGURATION, "Exit status") == {str(status) for status in statuses}


# ── The pages themselves ──────────────────────────────────────────────────────────────────────────────────────────────

every_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


@every_page
def test_blocks_have_known_languages_and_marks(page: Path) -> None:
    for block in blocks_of(page):
        assert block.language in LANGUAGES | DIRECTIVES, block
        assert SAVED.sub("saved as FILE", block.mark) in {"", *MARKS}, block
        assert block.language == "console" or "\n$ " not in f"\n{block.text}", f"{block} is a console that is not run"


@every_page
def test_made_parts_are_what_the_code_says(page: Path) -> None:
    text = page.read_text()
    assert docs.updated(text) == text, f"out of date; run: {docs.UPDATE}"
    assert page in docs.PAGES or "<!-- begin:" not in text


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in links(page):
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        linked = (page.parent / path) if path else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


@every_page
def test_lines_are_no_longer_than_120_characters(page: Path) -> None:
    # But for the rows of tables, which cannot be broken.
    lines = [line for line in page.read_text().splitlines() if not line.startswith("|")]
    assert [line for line in lines if len(line) > 120] == []
