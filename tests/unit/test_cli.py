"""The command line without servers: exit statuses, what goes to stdout and stderr, and what never does: passwords."""

from __future__ import annotations

import errno
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from rpi_health import __version__, app, errors
from rpi_health.broker import Outcome, Outgoing
from rpi_health.cli import main, progress
from rpi_health.cli.group import COMMANDS
from rpi_health.database import create_engine
from rpi_health.example import REPORT
from rpi_health.settings import CONFIG_FILE, SETTINGS
from rpi_health.store import Store
from tests.command import SCRIPT
from tests.reports import report

CANARY = "p@ss:w/rd%é"
ENCODED = quote(CANARY, safe="")
#: Pieces that no output may hold: the password in each spelling, and the parts that careless splitting leaves.
TRACES = (CANARY, ENCODED, "p@ss", "ss:w", "w/rd", "rd%é", "p%40ss", "rd%25")
BROKER = f"amqp://user:{ENCODED}@broker.invalid/%2F"


class Result(NamedTuple):
    status: object
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, and the password in all the places from which a user would give it."""
    for name in [name for name in os.environ if name.startswith(("RPI_HEALTH_", "XDG_"))]:
        monkeypatch.delenv(name)
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "etc"))
    monkeypatch.setenv("RPI_HEALTH_AMQP_URL", BROKER)
    monkeypatch.setenv("RPI_HEALTH_AMQP_PASSWORD", CANARY)
    monkeypatch.setenv("RPI_HEALTH_DATABASE_URL", f"sqlite:///{tmp_path / 'fleet.db'}")
    return tmp_path


@pytest.fixture(autouse=True)
def _loggers() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("rpi_health", "pika")]
    saved = [(each, each.level, each.propagate, each.handlers[:]) for each in loggers]
    yield
    for logger, level, propagate, handlers in saved:
        logger.setLevel(level)
        logger.propagate, logger.handlers = propagate, handlers


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `rpi-health` in this process. No output of any test may hold the password."""

    def run(*args: str) -> Result:
        with pytest.raises(SystemExit) as exited:
            main(list(args), prog_name="rpi-health")
        result = Result(exited.value.code, *capsys.readouterr())
        assert [trace for trace in TRACES if trace in result.out + result.err] == []
        return result

    return run


@pytest.fixture
def database(home: Path, run: Run) -> str:
    """A database with its tables."""
    assert run("init-db").status == 0
    return f"sqlite:///{home / 'fleet.db'}"


def write(url: str, **fields: Any) -> None:
    store = Store(create_engine(url, writer=True))
    assert store.write([report({**REPORT, **fields})]) == []
    store.close()


def process(*args: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rpi_health", *args]
    return subprocess.run(command, text=True, timeout=60, check=False, **{"stderr": subprocess.PIPE, **options})


# ── Help and version ──────────────────────────────────────────────────────────────────────────────────────────────────

HEAVY = {"plotext", "pydantic", "platformdirs", "sqlalchemy", "alembic", "pika", "rich", "pythonjsonlogger", "asyncio"}


def imported(*args: str | Path) -> set[str]:
    """The modules that Python imports when it runs with these arguments."""
    command = [sys.executable, "-X", "importtime", *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


@pytest.mark.parametrize("args", [["--help"], ["--version"], *([command, "--help"] for command in COMMANDS)])
def test_help_and_version_import_nothing_heavy(args: list[str]) -> None:
    modules = imported(SCRIPT, *args)
    assert "rpi_health.settings" in modules
    assert HEAVY & modules == set()


def test_package_imports_nothing_heavy() -> None:
    modules = imported("-c", "from rpi_health import rabbit_consumer, start_consumer_thread, shared")
    assert "rpi_health.embed" in modules
    assert HEAVY & modules == set()


@pytest.mark.parametrize(
    ("args", "needs", "spares"),
    [
        ("status", "sqlalchemy", {"pika", "alembic"}),
        ("show pi", "sqlalchemy", {"pika", "alembic"}),
        ("history pi", "sqlalchemy", {"pika", "alembic", "plotext"}),
        ("init-db --check", "sqlalchemy", {"pika", "alembic", "rich"}),
        ("consume", "pika", {"alembic", "rich"}),
        ("publish-test", "pika", {"sqlalchemy", "alembic"}),
    ],
)
def test_command_imports_what_it_uses(args: str, needs: str, spares: set[str]) -> None:
    modules = imported(SCRIPT, *args.split())
    assert needs in modules
    assert spares & modules == set()


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_shows_every_flag_with_its_variable(run: Run, command: str) -> None:
    status, out, err = run(*command.split(), "--help")
    assert (status, err) == (0, "")
    assert out.startswith(f"Usage: rpi-health {command}".rstrip())
    shown = " ".join(out.split())
    for setting in (CONFIG_FILE, *SETTINGS):
        if setting.has_option and setting.command in ("", command):
            assert f"{setting.flag} {setting.metavar}".rstrip() + " " in shown
            assert f"{setting.help} [${setting.environment}]" in shown
    assert max(map(len, out.splitlines())) <= 80


def test_flags_are_those_of_the_contract() -> None:
    flags = {setting.flag for setting in (CONFIG_FILE, *SETTINGS) if setting.has_option and not setting.command}
    assert flags == {
        "--tls-insecure",
        *("--amqp-url", "--database-url", "--queue", "--queue-type", "--config", "--log-level", "--log-format"),
    }


def test_help_lists_every_command_with_a_whole_sentence_and_the_exit_statuses(run: Run) -> None:
    out = run("--help").out
    for command in COMMANDS:
        (line,) = [line for line in out.splitlines() if line.startswith(f"  {command} ")]
        assert line.endswith(".")
        assert not line.endswith("..")
    assert "Exit status: 0 done, 1 unexpected, 2 usage, 3 configuration, 4 broker,\n  5 database" in out


def test_help_shows_no_password_of_a_default(run: Run) -> None:
    assert "1234" not in "".join(run(*command.split(), "--help").out for command in ("", *COMMANDS))


def test_version_is_one_line(run: Run) -> None:
    assert run("--version") == (0, f"rpi-health {__version__}\n", "")


def test_module_runs_as_the_command_does() -> None:
    done = process("--version", stdout=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(f" {__version__}\n")


# ── Mistakes ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ("statu", "No such command 'statu'"),
        ("--verbose status", "No such option"),
        ("status --jsn", "No such option"),
        ("status pi-01", "unexpected extra argument (pi-01)"),
        ("status --sort heat", "'heat' is not one of 'state', 'heard', 'id', 'temp', 'cpu', 'mem'"),
        ("status --limit 0", "0 is not in the range x>=1"),
        ("status --columns id,heat", "'heat' is none of id, state, heard, temp"),
        ("show", "Missing argument 'DEVICE'"),
        ("history pi --since soon", "'soon': give how long ago, as 24h or 30d, or a time, as 2026-01-31T12:00Z"),
        ("history pi --until 2026-02-31", "'2026-02-31': give how long ago"),
        ("history pi --since 1h --until 2h", "--since is not before --until"),
        ("history pi --every 0.5s", "'0.5s': give a duration of whole seconds, such as 30s, 5m or 24h"),
        ("history pi --every 999d", "give a duration of whole seconds"),
        ("history pi --metric heat", "'heat' is not one of 'temp', 'cpu', 'mem'"),
        ("status --queue", "requires an argument"),
        ("consume --max-messages 0", "0 is not in the range x>=1"),
        ("publish-test --count many", "'many' is not a valid integer"),
        ("publish-test --rate 0", "0.0 is not in the range x>0"),
        ("publish-test --file missing", "'missing': No such file or directory"),
        (f"amqp://user:{CANARY}@host", "No such command 'amqp://user:***"),
        (f"status amqp://user:{CANARY}@host", "unexpected extra argument (amqp://user:***"),
        (f"publish-test --count amqp://user:{CANARY}@host", "'amqp://user:***@host' is not a valid integer"),
        (f"publish-test --file amqp://user:{CANARY}@host", "'amqp://user:***"),
    ],
)
def test_mistake_is_told_on_its_own_line(run: Run, args: str, says: str) -> None:
    status, out, err = run(*args.split(" "))
    assert (status, out) == (2, "")
    assert says in err
    assert err.splitlines()[-1].startswith("Error: ")
    assert len(err.splitlines()) in (1, 4)


def test_mistake_is_told_with_where_to_look(run: Run) -> None:
    assert run("status", "pi-01").err.startswith("Usage: rpi-health status [OPTIONS]\nTry 'rpi-health status -")


def test_password_with_blanks_in_the_wrong_place_is_not_shown(run: Run) -> None:
    assert "secret" not in run("status", "amqp://user:a secret@host").err


SET_MISTAKES = {
    "cpu_temp": "'cpu_temp' is not KEY=JSON, such as cpu_percent=99.5 or",
    "=5": "'=5' is not KEY=JSON",
    "cpu_temp=81°C": "what follows cpu_temp= is not JSON (Extra data",
    "cpu_temp=": "what follows cpu_temp= is not JSON",
    "wifi_status=connected": "Text stands in double quotes",
    "a=" + "[" * 100_000: "what follows a= is not JSON",
    f"amqp://user:{CANARY}@host": "is not KEY=JSON",
    f"a=amqp://user:{CANARY}@host": "what follows a= is not JSON",
}


@pytest.mark.parametrize("value", SET_MISTAKES)
def test_mistake_in_set_is_told_with_an_example(run: Run, value: str) -> None:
    status, out, err = run("publish-test", "--set", value)
    assert (status, out) == (2, "")
    last = err.splitlines()[-1]
    assert last.startswith("Error: Invalid value for '--set': ")
    assert SET_MISTAKES[value] in last
    assert "'cpu_temp=\"81°C\"'" in last


@pytest.mark.parametrize("option", ["--id=pi", "--count=2", "--devices=2", "--set=a=1"])
def test_file_refuses_options_that_would_change_nothing(run: Run, home: Path, option: str) -> None:
    (home / "bodies").write_text("{}")
    status, _, err = run("publish-test", "--file", str(home / "bodies"), option)
    assert status == 2
    assert f"leave out {option.partition('=')[0]}." in err


def test_file_without_a_body_is_a_mistake(run: Run, home: Path) -> None:
    (home / "bodies").write_text("\n \n")
    status, _, err = run("publish-test", "--file", str(home / "bodies"))
    assert status == 2
    assert "Invalid value for '--file': there is nothing in it to send." in err


# ── Errors: one line each, with the cure, and their exit status ───────────────────────────────────────────────────────


def assert_errors(result: Result, status: int, *sentences: str) -> None:
    assert (result.status, result.out) == (status, "")
    lines = result.err.splitlines()
    assert len(lines) == len(sentences), result.err
    for line, sentence in zip(lines, sentences):
        assert line.startswith("Error: ")
        assert sentence in line


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ("status --log-level loud", "log_level is 'loud' (--log-level): give debug, info, warning or error"),
        ("--queue amq.x status", "queue is 'amq.x' (--queue): give a name of 1 to 255 bytes"),
        ("status --config none.toml", "config file none.toml (--config) cannot be read: No such file or directory"),
        ("init-db --database-url x", "database_url is 'x' (--database-url): give sqlite:////PATH"),
        ("init-db --database-url sqlite:///:memory:", "give a file"),
        (f"status --amqp-url amqp://u:{CANARY}@h", "amqp_url is 'amqp://u:***"),
        (f"status --database-url postgresql://u:{CANARY}@h/d", "database_url is 'postgresql://u:***"),
        (f"status --log-level amqp://u:{CANARY}@h", "log_level is 'amqp://u:***"),
        (f"status --config amqp://u:{CANARY}@h", "cannot be read"),
    ],
)
def test_wrong_setting_is_one_line_and_exit_status_3(run: Run, args: str, sentence: str) -> None:
    assert_errors(run(*args.split()), 3, sentence)


def test_each_wrong_setting_has_its_line(run: Run) -> None:
    assert_errors(run("status", "--log-level=loud", "--log-format=xml"), 3, "log_level is", "log_format is")


def test_file_that_is_no_database_is_exit_status_5(run: Run, home: Path) -> None:
    (home / "fleet.db").write_text("plain text " * 100)
    for command in ("status", "init-db", "init-db --check"):
        assert_errors(run(*command.split()), 5, "(file is not a database): check the file of RPI_HEALTH_DATABASE_URL")


def test_folder_that_cannot_be_made_is_exit_status_5(run: Run, home: Path) -> None:
    (home / "file").touch()
    url = f"sqlite:///{home}/file/folder/fleet.db"
    assert_errors(run("init-db", "--database-url", url), 5, "its folder cannot be made (Not a directory): name a file")


@pytest.mark.parametrize("command", ["status", "status --json", "show pi", "history pi", "init-db --check"])
def test_missing_database_is_exit_status_6_and_is_not_created(run: Run, home: Path, command: str) -> None:
    assert_errors(run(*command.split()), 6, "does not exist yet: run `rpi-health init-db`")
    assert list(home.iterdir()) == []


def test_consume_without_database_is_exit_status_6(run: Run, home: Path) -> None:
    status, out, err = run("consume")
    assert (status, out) == (6, "")
    assert err.splitlines()[-1].endswith("does not exist yet: run `rpi-health init-db`")
    assert list(home.iterdir()) == []


def raising(error: BaseException) -> Callable[..., Any]:
    def raise_it(*_args: object, **_options: object) -> Any:
        raise error

    return raise_it


@pytest.mark.parametrize("known", [True, False], ids=["after the settings were read", "before"])
def test_unexpected_error_is_exit_status_1_with_a_traceback_without_passwords(
    run: Run, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    error = raising(RuntimeError(f"boom at amqp://user:{ENCODED}@host \x1b[2J"))
    monkeypatch.setattr(*("rpi_health.app.devices", error) if known else ("rpi_health.config.read", error))
    status, out, err = run("status")
    assert (status, out) == (1, "")
    assert "\nError: RuntimeError: boom" not in err
    assert "RuntimeError: boom at amqp://user:***@host \\x1b[2J" in err
    assert err.splitlines()[-1] == "Error: this was not expected. Please report it, with the lines above."


def test_error_of_the_system_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "devices", raising(OSError(errno.ENOSPC, "No space left on device", f"/x/{CANARY}")))
    assert_errors(run("status"), 1, "No space left on device")


def test_interrupt_is_quiet_and_exit_status_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "devices", raising(KeyboardInterrupt()))
    monkeypatch.setattr(app, "publish", raising(KeyboardInterrupt()))
    assert run("status") == (130, "", "")
    assert run("publish-test") == (130, "", "")


@pytest.mark.parametrize("args", [["--help"], ["status", "--help"], ["status"], ["status", "--json"]])
def test_closed_stdout_ends_without_a_word(database: str, args: list[str]) -> None:
    write(database)
    reading, writing = os.pipe()
    os.close(reading)
    done = process(*args, stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no device that is always full")
@pytest.mark.parametrize("args", [["--help"], ["status", "--help"], ["status"], ["status", "--json"]])
def test_full_disk_behind_stdout_is_one_line(database: str, args: list[str]) -> None:
    write(database)
    with open("/dev/full", "w") as full:
        done = process(*args, stdout=full)
    assert_errors(Result(done.returncode, "", done.stderr), 1, "No space left on device")


# ── Settings ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "args",
    ["--database-url URL status --json", "status --json --database-url URL", "--database-url x status --json URL2"],
)
def test_flag_counts_before_and_after_the_command(run: Run, home: Path, args: str) -> None:
    url = f"sqlite:///{home / 'other.db'}"
    run("init-db", "--database-url", url)
    given = args.replace("URL2", f"--database-url {url}").replace("URL", url)
    assert run(*given.split()) == (0, "[]\n", "")


def test_notices_are_log_lines_on_stderr(run: Run, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RPI_HEALTH_QUEU", CANARY)
    status, out, err = run("status", "--json", "--log-format", "json")
    assert (status, out) == (0, "[]\n")
    assert json.loads(err)["did_you_mean"] == "RPI_HEALTH_QUEUE"


# ── init-db ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_init_db_twice_says_what_it_did(run: Run) -> None:
    first, second = run("init-db"), run("init-db")
    assert (first.status, first.out, second.status, second.out) == (0, "", 0, "")
    assert first.err.startswith("Created the tables (revision ")
    assert second.err.startswith("The tables are up to date")


def test_init_db_check_tells_by_its_exit_status(run: Run, home: Path) -> None:
    assert run("init-db", "--check").status == 6
    assert list(home.iterdir()) == []
    run("init-db")
    assert run("init-db", "--check") == (0, "", "The tables are up to date.\n")


def test_init_db_makes_the_folder_of_the_default_database(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RPI_HEALTH_DATABASE_URL")
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
    assert run("init-db").status == 0
    assert [path.name for path in (home / "data/rpi-health").glob("*.sqlite3")] == ["rpi-health.sqlite3"]


# ── status ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_empty_fleet_says_what_to_do_next_on_stderr(run: Run, database: str) -> None:
    status, out, err = run("status")
    assert (status, out) == (0, "")
    assert err.startswith("No device has reported yet. Next:\n  rpi-health publish-test ")
    assert "\n  rpi-health consume " in err


def test_empty_fleet_is_an_empty_array(run: Run, database: str) -> None:
    assert run("status", "--json") == (0, "[]\n", "")


def test_status_shows_the_fleet_on_stdout(run: Run, database: str) -> None:
    write(database, id="raspberry-01")
    status, out, err = run("status")
    assert (status, err) == (0, "")
    assert out.splitlines()[2].split()[0] == "raspberry-01"
    *_, figures, hearing, why = out.splitlines()
    assert figures == "1 device · ● 1 online"
    assert hearing.startswith("0 consumers · last report ")
    assert why == "No consumer is running: states as of the last report."


def test_status_as_json_is_one_line_that_says_everything(run: Run, database: str) -> None:
    write(database, id="温度\u3000計 [red] 🍓", unknown="\u2028")
    status, out, err = run("status", "--json")
    assert (status, err) == (0, "")
    assert len(out.splitlines()) == 1
    (device,) = json.loads(out)
    assert device["raspberry_id"] == "温度\u3000計 [red] 🍓"
    assert device["extra"] == {"unknown": "\u2028"}
    assert device["net_ifaces"] == REPORT["net_ifaces"]
    assert device["last_update"] == "2026-01-01T13:00:00Z"
    assert "温度\\u3000計 [red] 🍓" in out


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_stdout_of_any_encoding_will_do(database: str, encoding: str) -> None:
    write(database, id="é 温 🍓")
    env = {**os.environ, "PYTHONIOENCODING": encoding}
    table = process("status", stdout=subprocess.PIPE, env=env, encoding=encoding, errors="replace")
    assert (table.returncode, table.stderr) == (0, "")
    assert "48.0" in table.stdout
    data = process("status", "--json", stdout=subprocess.PIPE, env=env, encoding=encoding)
    assert (data.returncode, data.stderr) == (0, "")
    assert json.loads(data.stdout)[0]["raspberry_id"] == "é 温 🍓"
    comma_separated = process("status", "--csv", stdout=subprocess.PIPE, env=env, encoding=encoding)
    assert (comma_separated.returncode, comma_separated.stderr) == (0, "")
    escaped = "é 温 🍓".encode(encoding, "backslashreplace").decode(encoding)
    assert comma_separated.stdout.splitlines()[1].startswith(f"{escaped},")


def test_no_color_is_respected(run: Run, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write(database, cpu_temp="81°C")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[1;31m81.0 °C" in run("status").out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[1m81.0 °C" in run("status").out
    monkeypatch.delenv("FORCE_COLOR")
    assert "\x1b" not in run("status").out


# ── publish-test ──────────────────────────────────────────────────────────────────────────────────────────────────────


class Published:
    """Stands where the broker would: keeps the messages, and confirms as many as it is told to."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.per_second: float | None = None
        self.refused: frozenset[int] = frozenset()
        self.error: errors.BrokerError | None = None

    def __call__(
        self,
        _config: object,
        messages: Iterator[Outgoing],
        *,
        per_second: float | None,
        on_confirmed: Callable[[int], None],
    ) -> Outcome:
        for message in messages:
            assert message.properties.content_type == "application/json"
            self.bodies.append(message.body)
            on_confirmed(1)
        self.per_second = per_second
        return Outcome(len(self.bodies), self.refused, self.error)


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Published:
    published = Published()
    monkeypatch.setattr(app, "publish", published)
    return published


def test_example_is_published_once(run: Run, published: Published) -> None:
    status, out, err = run("publish-test")
    assert (status, out) == (0, "")
    assert [json.loads(body) for body in published.bodies] == [{"id": "raspberry-01", **REPORT}]
    assert err.startswith("1 of 1 confirmed by the broker in 0.")
    assert len(err.splitlines()) == 1


def test_count_devices_rate_and_values_are_as_asked_for(run: Run, published: Published) -> None:
    args = ["--id=pi-09", "--devices=2", "--count=3", "--rate=5", "--set=cpu_percent=99.5", "--set=x=[null]"]
    assert run("publish-test", *args).status == 0
    bodies = [json.loads(body) for body in published.bodies]
    assert [body["id"] for body in bodies] == ["pi-09", "pi-10", "pi-09"]
    assert {(body["cpu_percent"], json.dumps(body["x"])) for body in bodies} == {(99.5, "[null]")}
    assert published.per_second == 5


@pytest.mark.parametrize(
    ("content", "bodies"),
    [
        (b'{"id": "a"}\n', [b'{"id": "a"}\n']),
        (b'{\n  "id": "a"\n}\n', [b'{\n  "id": "a"\n}\n']),
        ('{\n  "id": "a"\n}'.encode("utf-16"), ['{\n  "id": "a"\n}'.encode("utf-16")]),
        (b'{"id": "a"}\n\n not json \r\n{"id": "b"}', [b'{"id": "a"}', b" not json ", b'{"id": "b"}']),
        (b"\xff\n{}\n", [b"\xff", b"{}"]),
        (b"[" * 100_000, [b"[" * 100_000]),
    ],
)
def test_file_is_one_document_or_a_body_a_line_sent_as_it_is(
    run: Run, published: Published, home: Path, content: bytes, bodies: list[bytes]
) -> None:
    (home / "bodies").write_bytes(content)
    status, _, err = run("publish-test", "--file", str(home / "bodies"))
    assert (status, published.bodies) == (0, bodies)
    assert err.startswith(f"{len(bodies)} of {len(bodies)} confirmed")


def test_unconfirmed_messages_are_exit_status_4(run: Run, published: Published) -> None:
    published.refused = frozenset({1})
    status, _, err = run("publish-test", "--count", "3")
    assert status == 4
    assert err.splitlines()[0].startswith("2 of 3 confirmed by the broker")
    assert err.splitlines()[1] == "Error: Not confirmed: 1 of 3. Publish them again."


def test_error_after_some_messages_is_told_with_how_many_were_confirmed(run: Run, published: Published) -> None:
    published.refused, published.error = frozenset({2}), errors.BrokerUnavailable(f"Lost amqp://u:{ENCODED}@h: wait.")
    status, _, err = run("publish-test", "--count", "3")
    assert status == 4
    assert [line.partition(" ")[0] for line in err.splitlines()] == ["2", "Error:"]


def pretend_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)


def test_progress_bar_of_slow_publishing_goes_to_the_terminal(
    run: Run, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_terminal(monkeypatch)
    monkeypatch.setattr(progress, "_QUIET_S", -1.0)
    status, out, err = run("publish-test", "--count", "3")
    assert (status, out) == (0, "")
    assert "Publishing \x1b" in err
    assert "━━━" in err


def test_quick_publishing_shows_no_progress_bar(
    run: Run, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_terminal(monkeypatch)
    monkeypatch.setattr(progress, "_QUIET_S", 60.0)
    assert "Publishing" not in run("publish-test", "--count", "3").err


def test_progress_bar_is_for_terminals_only(run: Run, published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_QUIET_S", -1.0)
    monkeypatch.setenv("FORCE_COLOR", "1")
    err = run("publish-test", "--count", "3").err
    assert err.startswith("3 of 3 confirmed")
    assert len(err.splitlines()) == 1
