"""`show` and `history` as users run them: the installed command, in a pipe and on a terminal."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import unicodedata
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from rpi_health import migrations
from rpi_health.database import create_engine
from rpi_health.example import REPORT
from rpi_health.payload import decode
from rpi_health.report import Envelope, Report
from rpi_health.store import Store
from tests.command import Terminal

FORMULA = "=cmd|'/C calc'!A1"
HOSTILE = "\x1b[2J\u202e[red]x\nFORGED"


def report(device: str, at: datetime, **fields: object) -> Report:
    body = json.dumps({"id": device, **REPORT, **fields, "timestamp": at.isoformat()}).encode()
    return decode(body, Envelope(at, body))


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database: a day of reports of one device, one of another, and one that sends what it should not."""
    file = tmp_path_factory.mktemp("fleet") / "fleet.db"
    url = f"sqlite:///{file}"
    migrations.upgrade(url)
    now = datetime.now(timezone.utc)
    minutes = range(5, 1440, 5)
    reports = [report("raspberry-01", now - timedelta(minutes=m), cpu_percent=float(m % 100)) for m in minutes]
    reports += [report("raspberry-02", now - timedelta(days=40))]
    reports += [
        report(
            "evil", now, wifi_status=HOSTILE, mem_usage=FORMULA, net_ifaces=[{"name": HOSTILE}], **{HOSTILE: [HOSTILE]}
        )
    ]
    engine = create_engine(url, writer=True)
    store = Store(engine)
    assert store.write(reports) == []
    store.close()
    return file


class Fleet(Terminal):
    """Runs the command on that database. A run must end with exit status 0, and write nothing to stderr."""

    def __init__(self, folder: Path, database: Path) -> None:
        super().__init__(folder)
        self.env = {"RPI_HEALTH_DATABASE_URL": f"sqlite:///{database}", "COLUMNS": "80"}

    def __getitem__(self, command: str) -> str:
        done = self.output_of(*command.split(), env=self.env)
        assert (done.returncode, done.stderr) == (0, b"")
        return done.stdout.decode()

    def error_of(self, command: str) -> tuple[int, str]:
        done = self.output_of(*command.split(), env=self.env)
        assert done.stdout == b""
        return done.returncode, done.stderr.decode()


@pytest.fixture
def run(tmp_path: Path, fleet: Path) -> Iterator[Fleet]:
    runner = Fleet(tmp_path, fleet)
    yield runner
    runner.close()


def test_show_has_what_is_known_and_the_last_day(run: Fleet) -> None:
    shown = re.sub(" +\n", "\n", run["show raspberry-01"])
    assert shown.startswith("raspberry-01\n  State         ✖ offline\n  Last heard    5 min ago (")
    assert re.search(r"CPU +5.0 % +[▁▂▃▄▅▆▇█]{35,36} +0.0 … 95.0 %", shown)
    assert "wlan0         192.168.0.10\n" in shown


def test_show_as_json_is_the_object_that_status_has(run: Fleet) -> None:
    device = json.loads(run["show raspberry-02 --json"])
    assert device in json.loads(run["status --json"])
    assert device["raspberry_id"] == "raspberry-02"


@pytest.mark.parametrize("command", ["show", "history", "history --json --every 1h"])
def test_unknown_device_is_exit_status_2_and_near_ids_are_named(run: Fleet, command: str) -> None:
    name, _, options = command.partition(" ")
    status, error = run.error_of(f"{name} raspbery-01 {options}")
    assert status == 2
    assert error == "Error: No device raspbery-01 has reported. Did you mean raspberry-01, raspberry-02?\n"


def test_history_is_that_of_the_last_24_hours_the_oldest_first(run: Fleet) -> None:
    rows = run["history raspberry-01"].splitlines()[2:]
    assert len(rows) == 287
    assert rows == sorted(rows)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  48.0 °C   5.0 %  512 MB", rows[-1])


def test_history_as_json_and_as_csv_say_the_same(run: Fleet) -> None:
    for options in ("--since 2h", "--every 30m --metric cpu --metric temp"):
        objects = json.loads(run[f"history raspberry-01 {options} --json"])
        lines = list(csv.DictReader(io.StringIO(run[f"history raspberry-01 {options} --csv"])))
        assert len(objects) > 20
        # What is kept in a minute's time between the two is the same but for its ends.
        common = [line for line in lines if line in [{k: text(v) for k, v in each.items()} for each in objects]]
        assert len(common) >= len(lines) - 2


def test_history_by_the_hour_goes_on_where_reports_were_deleted(run: Fleet, fleet: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{shutil.copy(fleet, tmp_path / 'pruned.db')}"
    run.env["RPI_HEALTH_DATABASE_URL"] = url
    before = json.loads(run["history raspberry-02 --since 90d --every 1h --metric temp --json"])
    (only,) = before
    assert only["reports"] == 1
    assert run["prune --older-than 30d"].startswith("Deleted 1 report of 1 device")
    assert json.loads(run["history raspberry-02 --since 90d --every 1h --metric temp --json"]) == before
    until = datetime.fromisoformat(only["start"].replace("Z", "+00:00")) + timedelta(hours=1)
    said = f"Of reports up to {until:%Y-%m-%d %H:%M} UTC, figures of each hour are kept: --every 1h shows them.\n"
    for options in ("--since 90d", "--since 90d --every 30m"):
        assert run.error_of(f"history raspberry-02 {options}") == (0, said)
    as_json = run.output_of("history", "raspberry-02", "--since", "90d", "--json", env=run.env)
    assert (as_json.stdout, as_json.stderr) == (b"[]\n", said.encode())
    # A chart of so long a time is by whole hours.
    assert "raspberry-02: Temp in °C" in run["history raspberry-02 --since 90d --plot"]


def text(value: object) -> str:
    return "" if value is None else str(value)


def test_history_by_spans_counts_each_report_once(run: Fleet) -> None:
    objects = json.loads(run["history raspberry-01 --every 1h --metric cpu --json"])
    assert sum(each["reports"] for each in objects) == 287
    assert all(each["cpu_percent_min"] <= each["cpu_percent_mean"] <= each["cpu_percent_max"] for each in objects)
    starts = [datetime.fromisoformat(each["start"].replace("Z", "+00:00")) for each in objects]
    assert {start.minute for start in starts} == {0}


def test_plot_has_a_chart_for_each_metric_that_has_values(run: Fleet) -> None:
    shown = run["history raspberry-01 --plot"]
    titles = [line.strip() for line in shown.splitlines() if "raspberry-01: " in line]
    assert titles == ["raspberry-01: Temp in °C", "raspberry-01: CPU in %", "raspberry-01: Memory in MB"]
    assert max(map(len, shown.splitlines())) <= 80


def test_time_without_reports_is_said_on_stderr_and_is_no_error(run: Fleet) -> None:
    status, error = run.error_of("history raspberry-02")
    assert status == 0
    assert error == "Nothing of that was reported in that time. --since 30d looks further back.\n"
    assert run.error_of("history raspberry-01 --metric mem-percent --plot") == (status, error)
    assert run["history raspberry-02 --json"] == "[]\n"
    assert len(run["history raspberry-02 --since 41d --csv"].splitlines()) == 2


def test_status_can_be_narrowed_sorted_and_cut(run: Fleet) -> None:
    shown = run["status --id raspberry-* --sort id --reverse --limit 1 --columns id,temp"].splitlines()
    assert shown[0].split() == ["Device", "Temp"]
    assert shown[2].split() == ["raspberry-02", "48.0", "°C"]
    assert shown[-3].startswith("1 of 3 devices · ")
    assert run["status --id nobody"].splitlines()[-3].startswith("0 of 3 devices · ")
    assert run["status --state late --columns id"].splitlines()[2:-4] == []


def test_status_as_csv_has_the_fields_of_json(run: Fleet) -> None:
    (line,) = csv.DictReader(io.StringIO(run["status --csv --id raspberry-02"]))
    (device,) = json.loads(run["status --json --id raspberry-02"])
    assert list(line) == list(device)
    assert (line["cpu_temp_celsius"], line["interval_s"], line["led_internal_status"]) == ("48.0", "", "false")
    assert json.loads(line["net_ifaces"]) == device["net_ifaces"]
    assert line["last_update"] == device["last_update"]


def test_text_is_no_formula_for_a_spreadsheet(run: Fleet) -> None:
    lines = {line["raspberry_id"]: line for line in csv.DictReader(io.StringIO(run["status --csv"]))}
    assert lines["evil"]["mem_usage"] == "'=cmd|'/C calc'!A1"


@pytest.mark.parametrize(
    "command",
    [
        "status",
        "status --csv",
        "status --json",
        "show evil",
        "show evil --json",
        "history evil",
        "history evil --plot",
        "history evil --csv",
    ],
)
def test_nothing_that_a_device_sends_acts_on_a_terminal(run: Fleet, command: str) -> None:
    piped, shown = run[command], run.on_terminal(*command.split(), columns=80, env=run.env)
    for output in (piped, re.sub(r"\x1b\[[0-9;]*m", "", shown).replace("\r\n", "\n")):
        unsafe = {unicodedata.category(char) for char in output if char != "\n"} & {"Cc", "Cf", "Cs", "Co", "Cn"}
        assert unsafe == set()
        assert "\nFORGED" not in output


def test_unknown_id_is_shown_as_text(run: Fleet) -> None:
    done = run.output_of("show", HOSTILE, env=run.env)
    assert done.returncode == 2
    assert done.stderr.startswith(b"Error: No device \\x1b[2J\\u202e[red]x\\nFORGED has reported.")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("option", ["NO_COLOR", "TERM"])
def test_show_needs_no_colour(run: Fleet, option: str) -> None:
    plain = {"NO_COLOR": "1"} if option == "NO_COLOR" else {"TERM": "dumb"}
    shown = run.on_terminal("show", "raspberry-01", columns=80, env={**run.env, **plain})
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", shown)
    assert "48.0 °C" in shown
