"""`status --watch` on a real terminal, whose screen is read as a person would."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pyte
import pytest
import sqlalchemy as sa

from rpi_health.database import create_engine
from rpi_health.models import DeviceStatus
from tests.command import Terminal
from tests.waiting import wait_until
from tools.servers import PostgreSQL

LINES, COLUMNS = 24, 80
_OTHER_SCREEN = b"\x1b[?1049l"


class Watching:
    """`rpi-health status --watch` on a terminal of its own."""

    def __init__(self, folder: Path, url: str, *args: str) -> None:
        self._screen = pyte.Screen(COLUMNS, LINES)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self.output = b""
        self.process, self._terminal = Terminal(folder).start_on_terminal(
            *("status", "--watch", "0.3", *args), columns=COLUMNS, lines=LINES, env={"RPI_HEALTH_DATABASE_URL": url}
        )
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # how Linux says that nobody has the other end open any more
            while chunk := os.read(self._terminal, 65536):
                with self._lock:
                    self.output += chunk
                    self._stream.feed(chunk)

    def lines(self) -> list[str]:
        with self._lock:
            return [line.rstrip() for line in self._screen.display]

    def sees(self, text: str) -> bool:
        return any(text in line for line in self.lines())

    def standing_out(self) -> str:
        """The characters that are shown in reverse."""
        with self._lock:
            rows = self._screen.buffer
            cells = [rows[line][column] for line in range(LINES) for column in range(COLUMNS)]
            return "".join(cell.data for cell in cells if cell.reverse)

    def press(self, keys: bytes) -> None:
        os.write(self._terminal, keys)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reading.join(10)
        os.close(self._terminal)


def add_devices(engine: sa.Engine, ids: Sequence[str]) -> None:
    now = datetime.now(timezone.utc)
    rows = [{"raspberry_id": each, "last_update": now, "cpu_temp_celsius": 48.0} for each in ids]
    with engine.begin() as connection:
        connection.execute(sa.insert(DeviceStatus), rows)


@pytest.fixture
def engine(migrated_url: str) -> Iterator[sa.Engine]:
    engine = create_engine(migrated_url, writer=True)
    add_devices(engine, [f"pi-{number:02}" for number in range(40)])
    yield engine
    engine.dispose()


@pytest.fixture
def watching(engine: sa.Engine, migrated_url: str, tmp_path: Path) -> Iterator[Watching]:
    watching = Watching(tmp_path, migrated_url, "--sort", "id")
    yield watching
    watching.close()


def test_what_changes_is_shown_and_stands_out_until_q(watching: Watching, engine: sa.Engine) -> None:
    wait_until(lambda: watching.sees("q quits"), 20, "the first picture")
    assert watching.lines()[0].split()[:2] == ["Device", "State"]
    # As many devices as there is room for, and the lines below them.
    assert (watching.sees("pi-00"), watching.sees("pi-39"), watching.sees("of 40 devices")) == (True, False, True)
    wait_until(lambda: watching.standing_out() == "", 20, "nothing new")
    with engine.begin() as connection:
        warmer = sa.update(DeviceStatus).where(DeviceStatus.raspberry_id == "pi-03")
        connection.execute(warmer.values(cpu_temp_celsius=61.5))
    wait_until(lambda: watching.sees("61.5 °C"), 20, "the new temperature")
    wait_until(lambda: watching.output.count(b"\x1b[7;32m61.5 \xc2\xb0C") > 0, 20, "the temperature in reverse")
    watching.press(b"xq")
    assert watching.process.wait(20) == 0
    wait_until(lambda: _OTHER_SCREEN in watching.output, 5, "the screen as it was before")
    assert b"\x1b[2J" not in watching.output.partition(b"61.5")[2]  # it is not wiped before each picture


def test_ctrl_c_ends_it_in_good_order(watching: Watching) -> None:
    wait_until(lambda: watching.sees("q quits"), 20, "the first picture")
    watching.process.send_signal(signal.SIGINT)
    assert watching.process.wait(20) == 0
    wait_until(lambda: _OTHER_SCREEN in watching.output, 5, "the screen as it was before")
    assert b"Traceback" not in watching.output


def test_database_that_is_away_is_said_and_waited_for(
    postgresql: PostgreSQL, postgresql_url: str, tmp_path: Path
) -> None:
    from rpi_health import migrations

    migrations.upgrade(postgresql_url)
    engine = create_engine(postgresql_url, writer=True)
    add_devices(engine, ["pi-1"])
    engine.dispose()
    watching = Watching(tmp_path, postgresql_url)
    try:
        wait_until(lambda: watching.sees("pi-1"), 20, "the device")
        postgresql.kill()
        wait_until(lambda: watching.sees("As it was before this"), 20, "what is wrong")
        assert watching.sees("pi-1")
        postgresql.ensure_running()
        wait_until(lambda: not watching.sees("As it was before this"), 20, "the database")
        assert watching.sees("pi-1")
        watching.press(b"q")
        assert watching.process.wait(20) == 0
    finally:
        watching.close()


def test_fleet_that_nobody_has_heard_yet_is_waited_for(migrated_url: str, tmp_path: Path) -> None:
    watching = Watching(tmp_path, migrated_url)
    engine = create_engine(migrated_url, writer=True)
    try:
        wait_until(lambda: watching.sees("No device has reported yet"), 20, "that there is nothing")
        assert watching.sees("q quits")
        add_devices(engine, ["pi-1"])
        wait_until(lambda: watching.sees("pi-1"), 20, "the first device")
        assert not watching.sees("No device has reported yet")
        watching.press(b"q")
        assert watching.process.wait(20) == 0
    finally:
        watching.close()
        engine.dispose()


def test_fleet_of_ten_thousand_shows_those_in_trouble_and_keeps_up(migrated_url: str, tmp_path: Path) -> None:
    engine = create_engine(migrated_url, writer=True)
    add_devices(engine, [f"pi-{number:05}" for number in range(10_000)])
    watching = Watching(tmp_path, migrated_url)
    try:
        wait_until(lambda: watching.sees("of 10,000 devices"), 30, "the first picture")
        assert sum(line.startswith("pi-") for line in watching.lines()) >= LINES - 10
        with engine.begin() as connection:
            silent = sa.update(DeviceStatus).where(DeviceStatus.raspberry_id == "pi-09999")
            connection.execute(silent.values(last_update=datetime.now(timezone.utc) - timedelta(days=1)))
        wait_until(lambda: watching.lines()[2].startswith("pi-09999"), 20, "the device in trouble")
        assert "offline" in watching.lines()[2]
        watching.press(b"q")
        assert watching.process.wait(20) == 0
    finally:
        watching.close()
        engine.dispose()


def test_what_cannot_be_watched_from_the_start_ends_as_without_watch(tmp_path: Path) -> None:
    watching = Watching(tmp_path, f"sqlite:///{tmp_path / 'fleet.db'}")
    try:
        assert watching.process.wait(20) == 6
        wait_until(lambda: watching.sees("does not exist yet: run `rpi-health init-db`"), 5, "the cure")
        assert b"?1049h" not in watching.output  # on the screen that stays
    finally:
        watching.close()


def test_table_that_is_watched_is_no_data(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'fleet.db'}"
    watching = Watching(tmp_path, database, "--json")
    try:
        assert watching.process.wait(20) == 2
        wait_until(lambda: watching.sees("--watch and --json do not go together"), 5, "the mistake")
    finally:
        watching.close()


@pytest.mark.parametrize(
    ("args", "says"), [(["--watch"], "terminal"), (["--watch=0"], "give seconds"), (["--watch=soon"], "give seconds")]
)
def test_what_cannot_be_watched_is_a_mistake(tmp_path: Path, args: list[str], says: str) -> None:
    done = Terminal(tmp_path).output_of("status", *args)
    assert (done.returncode, done.stdout) == (2, b"")
    assert says in done.stderr.decode()
