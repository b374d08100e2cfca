"""`check` as a monitoring system runs it: one line on stdout, and an exit status from 0 to 3."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa

from rpi_health.database import create_engine
from rpi_health.models import ConsumerHearing, ConsumerStatus, DeviceStatus
from rpi_health.presence import Identity
from tests.command import Terminal


@pytest.fixture
def engine(migrated_url: str) -> Iterator[sa.Engine]:
    engine = create_engine(migrated_url, writer=True)
    yield engine
    engine.dispose()


def run(folder: Path, url: str, *args: str) -> tuple[int, str]:
    done = Terminal(folder).output_of("check", *args, env={"RPI_HEALTH_DATABASE_URL": url})
    assert done.stderr == b""
    (line,) = done.stdout.decode().splitlines()
    return done.returncode, line


def test_fleet_is_checked(engine: sa.Engine, migrated_url: str, tmp_path: Path) -> None:
    assert run(tmp_path, migrated_url) == (3, "RPI-HEALTH UNKNOWN - No such device has reported.")
    now = datetime.now(timezone.utc)
    with engine.begin() as connection:
        for device, minutes, celsius in (("pi-1", 0, 48.0), ("pi-2", 3, 76.0), ("pi|3", 9, 20.0)):
            values = {"last_update": now - timedelta(minutes=minutes), "cpu_temp_celsius": celsius}
            connection.execute(sa.insert(DeviceStatus).values(raspberry_id=device, **values))
        consumer = Identity(bytes(8), "pi", 1, "1.0", "rasp_data", now)._asdict()
        seen = {"connected": True, "backlog": 0, "rate": 1.0, "updated_at": now}
        connection.execute(sa.insert(ConsumerStatus).values(**consumer, **seen))
        connection.execute(sa.insert(ConsumerHearing).values(heard_from=now - timedelta(days=1), heard_until=now))
    assert run(tmp_path, migrated_url, "--id", "pi-1") == (
        0,
        "RPI-HEALTH OK - 1 of 1 online | online=1;;;0;1 late=0;0;;0;1 offline=0;0;0;0;1 temp_max=48;75;80",
    )
    assert run(tmp_path, migrated_url, "--id", "pi-*", "--warn-temp", "77")[0] == 1
    assert run(tmp_path, migrated_url, "--id", "pi-2", "--crit-temp", "76")[0] == 2
    assert run(tmp_path, migrated_url) == (
        2,
        "RPI-HEALTH CRITICAL - 1 of 3 offline (pi¦3); 1 late (pi-2); 1 warm (pi-2 76.0 °C) | "
        "online=1;;;0;3 late=1;0;;0;3 offline=1;0;0;0;3 temp_max=76;75;80",
    )
    assert run(tmp_path, migrated_url, "--max-offline", "1")[0] == 1


@pytest.mark.parametrize(
    ("url", "args", "says"),
    [
        ("postgresql://pi:secret@127.0.0.1:1/fleet", [], "127.0.0.1:1"),
        ("sqlite:////nowhere/fleet.db", [], "init-db"),
        ("nonsense", [], "RPI_HEALTH_DATABASE_URL"),
        ("sqlite:////nowhere/fleet.db", ["--max-offline", "few"], "few"),
        ("sqlite:////nowhere/fleet.db", ["--nonsense"], "--nonsense"),
        ("sqlite:////nowhere/fleet.db", ["--crit-temp", "nan"], "--crit-temp nan"),
    ],
)
def test_what_cannot_be_told_is_unknown_never_critical(tmp_path: Path, url: str, args: list[str], says: str) -> None:
    status, line = run(tmp_path, url, *args)
    assert (status, line.startswith("RPI-HEALTH UNKNOWN - ")) == (3, True)
    assert says in line
    assert "secret" not in line
