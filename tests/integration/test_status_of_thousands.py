"""How long `status` takes with 10,000 devices: in CPU time, which other processes disturb less than the clock's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

from rpi_health.database import create_engine
from rpi_health.store import Store
from tests.command import Terminal
from tests.reports import EXAMPLE, report

DEVICES = 10_000
BATCH = 1000
# Alone, half of it: beside other tests, on shared cores, even CPU time grows.
TABLE_S, JSON_S = 2.25, 1.5
ATTEMPTS = 3


def fill(url: str) -> None:
    """Store reports in which devices differ as those of a real fleet do, with some names and texts beyond ASCII."""
    store = Store(create_engine(url, writer=True))
    for first in range(0, DEVICES, BATCH):
        assert store.write([report(health_check(number), minute=0) for number in range(first, first + BATCH)]) == []
    store.close()


def health_check(number: int) -> dict[str, object]:
    return {
        **EXAMPLE,
        "id": f"{'raspberry' if number % 50 else '温度計'}-{number:05d}",
        "cpu_temp": f"{30 + number * 7 % 550 / 10}°C",
        "cpu_percent": number * 3 % 1000 / 10,
        "mem_usage": f"{number * 13 % 1000} MB",
        "net_bytes_sent": number * 1_234_567,
        "net_bytes_recv": number * 7_654_321,
        "net_ifaces": [{"name": "wlan0", "ip": f"10.0.{number >> 8}.{number & 255}"}],
        "wifi_status": "connected" if number % 10 else "disconnected",
    }


def cpu_s(run: Callable[[], object]) -> float:
    """What the processes that this runs to their end take, in seconds."""
    before = getrusage(RUSAGE_CHILDREN)
    run()
    after = getrusage(RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_status_of_ten_thousand_devices_takes_little_time(migrated_url: str, tmp_path: Path) -> None:
    fill(migrated_url)
    cli, env = Terminal(tmp_path), {"RPI_HEALTH_DATABASE_URL": migrated_url}
    ways: dict[str, tuple[float, Callable[[], object]]] = {
        "table in a pipe": (TABLE_S, lambda: cli.output_of("status", env=env)),
        "table on 80 columns": (TABLE_S, lambda: cli.on_terminal("status", columns=80, env=env)),
        "table on 160 columns": (TABLE_S, lambda: cli.on_terminal("status", columns=160, env=env)),
        "JSON": (JSON_S, lambda: cli.output_of("status", "--json", env=env)),
    }
    assert cli.output_of("status", env=env).stdout.count(b"\n") == DEVICES + 6
    took_s = {name: min(cpu_s(run) for _ in range(ATTEMPTS)) for name, (_, run) in ways.items()}
    assert {name: took for name, took in took_s.items() if took > ways[name][0]} == {}
