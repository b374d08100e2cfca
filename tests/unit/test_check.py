"""What `check` makes of the fleet, by table."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpi_health.device import Device
from rpi_health.render.check import Limits, check
from tests.unit.test_render import CONSUMER, EXAMPLE, NOTHING, NOW, overview

HOUR = timedelta(hours=1)
#: value;warning;critical;least;most
FIGURE = re.compile(r"[a-z_]+=[0-9.e+-]+(;[0-9.e+-]*){0,4}")


def pi(number: int, **fields: Any) -> Device:
    return replace(EXAMPLE, raspberry_id=f"pi-{number}", **fields)


def checked(devices: list[Device], limits: Limits = Limits(), **fleet: Any) -> tuple[int, str]:  # noqa: B008
    return check(devices, overview(devices, CONSUMER, **fleet), NOW, limits)


@pytest.mark.parametrize(
    ("devices", "limits", "status", "text"),
    [
        ([pi(1), pi(2)], Limits(), 0, "OK - 2 of 2 online"),
        ([NOTHING, pi(2)], Limits(), 2, "CRITICAL - 1 of 2 offline (pi)"),
        ([NOTHING, pi(2)], Limits(max_offline=1), 1, "WARNING - 1 of 2 offline (pi)"),
        ([pi(1, state="late"), pi(2)], Limits(), 1, "WARNING - 1 late (pi-1)"),
        ([pi(1, cpu_temp_celsius=74.9)], Limits(), 0, "OK - 1 of 1 online"),
        ([pi(1, cpu_temp_celsius=75.0)], Limits(), 1, "WARNING - 1 warm (pi-1 75.0 °C)"),
        (
            [pi(1, cpu_temp_celsius=81.0), pi(2, cpu_temp_celsius=90.0), pi(3)],
            Limits(),
            2,
            "CRITICAL - 2 hot (pi-2 90.0 °C, pi-1 81.0 °C)",
        ),
        ([pi(1, cpu_temp_celsius=60.0)], Limits(50.0, 60.0), 2, "CRITICAL - 1 hot (pi-1 60.0 °C)"),
        # What an offline device said last is no news.
        ([pi(1, state="offline", cpu_temp_celsius=99.0)], Limits(max_offline=1), 1, "WARNING - 1 of 1 offline (pi-1)"),
        (
            [pi(1, state="late"), pi(2, cpu_temp_celsius=90.0)],
            Limits(),
            2,
            "CRITICAL - 1 hot (pi-2 90.0 °C); 1 late (pi-1)",
        ),
        (
            [pi(number, state="offline") for number in range(7)],
            Limits(),
            2,
            "CRITICAL - 7 of 7 offline (pi-0, pi-1, pi-2, pi-3, pi-4, …)",
        ),
        ([], Limits(), 3, "UNKNOWN - No such device has reported."),
    ],
)
def test_worst_that_is_found_is_the_status_and_said_first(
    devices: list[Device], limits: Limits, status: int, text: str
) -> None:
    found, line = checked(devices, limits)
    assert (found, line.partition(" | ")[0]) == (status, f"RPI-HEALTH {text}")


def test_fleet_that_nobody_hears_is_a_warning_not_a_catastrophe() -> None:
    gone = CONSUMER._replace(updated_at=NOW - HOUR)
    status, line = check([EXAMPLE], overview([EXAMPLE], gone, heard_until=NOW - HOUR), NOW, Limits())
    assert status == 1
    text = "No consumer is running: states as of 2026-01-01 11:00:00 UTC, 60 min ago"
    assert line.startswith(f"RPI-HEALTH WARNING - {text} | ")


def test_figures_have_their_limits() -> None:
    _, line = checked([pi(1, cpu_temp_celsius=81.5), pi(2, state="late"), NOTHING], Limits(70.0, 85.5, 2))
    assert line.partition(" | ")[2] == "online=1;;;0;3 late=1;0;;0;3 offline=1;0;2;0;3 temp_max=81.5;70;85.5"


@given(st.lists(st.text(min_size=1, max_size=128), min_size=1, max_size=6), st.floats(-1e300, 1e300))
def test_no_id_makes_another_line_or_other_figures(ids: list[str], celsius: float) -> None:
    states = ("offline", "late", "online")
    devices = [pi(0, cpu_temp_celsius=celsius, state=states[number % 3]) for number in range(len(ids))]
    named = [replace(device, raspberry_id=each) for device, each in zip(devices, ids)]
    _, line = checked(named)
    text, figures = line.split("|")
    assert len(line.splitlines()) == 1
    assert not {char for char in line if ord(char) < 32 or 127 <= ord(char) < 160}
    assert text.startswith("RPI-HEALTH ")
    assert all(FIGURE.fullmatch(figure) for figure in figures.split())
