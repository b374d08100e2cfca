"""A device, and its history, as people see them. `UPDATE_GOLDEN=1 pytest tests/unit` accepts a new look."""

from __future__ import annotations

import io
import math
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console, RenderableType

from rpi_health import render
from rpi_health.device import Device, interfaces
from rpi_health.metric import METRICS, USUAL, Bucket, Range, Reading
from rpi_health.render.units import figures
from tests.pages import ROOT
from tests.unit.goldens import GOLDEN, assert_golden
from tests.unit.test_render import EXAMPLE, FLEET, NOTHING, NOW

#: Unicode's categories of what acts on a terminal, or on the reader, without a glyph of its own.
UNSAFE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
SPAN = timedelta(minutes=40)
CLEAN = Device(
    **{
        **vars(EXAMPLE),
        "mem_percent": 45.5,
        "interval_s": 60.0,
        "net_ifaces": {"eth0": ["192.168.0.10", "2001:db8::1"], "wlan0": None},
        "led_internal_status": True,
        "extra": {"site": "roof", "disk": {"free": 12.5}},
        "report_warnings": ["cpu_percent: 'hot' is not a number"],
    }
)


def day(*, gap: range = range(10, 13)) -> list[Bucket]:
    """A warm afternoon, with a gap."""
    spans = []
    for number in range(36):
        warm = 48 + 10 * math.sin(number / 6)
        temp, cpu = Range(warm - 1, warm, warm + 1), Range(1.0, 10.0 + number % 7, 99.0)
        nothing = number in gap
        ranges = (None,) * 4 if nothing else (temp, cpu, Range(512 * 10**6, 600.5 * 10**6, 700 * 10**6), None)
        spans.append(Bucket(NOW - (35 - number) * SPAN, 0 if nothing else 40, ranges))
    return spans


def shown(what: RenderableType, width: int, *, colour: bool = False) -> str:
    console = Console(
        file=io.StringIO(),
        width=width,
        color_system="standard" if colour else None,
        force_terminal=colour,
        no_color=False,
        highlight=False,
    )
    console.print(what)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


# ── The look ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("colour", [False, True], ids=["plain", "colour"])
@pytest.mark.parametrize("width", [80, 160])
def test_device_looks_as_it_did(width: int, colour: bool) -> None:
    text = shown(render.device(CLEAN, day(), NOW), width, colour=colour)
    assert_golden(f"show_{width}{'_colour' if colour else ''}.txt", text)


@pytest.mark.parametrize("width", [80, 160])
def test_history_looks_as_it_did(width: int) -> None:
    readings = [Reading(NOW + n * SPAN, (48.0 + n, 12.5, 512_000_000 * (n + 1), None)) for n in range(3)]
    spans = shown(render.buckets(day()[8:15], USUAL[:3]), width)
    assert_golden(f"history_{width}.txt", shown(render.readings(readings, USUAL), width) + "\n" + spans)


def test_pictures_in_the_documentation_are_these() -> None:
    page = (ROOT / "docs" / "fleet.md").read_text(encoding="utf-8")
    assert (GOLDEN / "chart_80.txt").read_text(encoding="utf-8") in page
    (bars,) = [line for line in (GOLDEN / "show_80.txt").read_text(encoding="utf-8").splitlines() if "Temp " in line]
    assert f"{bars}\n" in page


def test_chart_looks_as_it_did() -> None:
    points = [(bucket.at, bucket.values[0].mean) for bucket in day() if bucket.values[0] is not None]
    assert_golden("chart_80.txt", render.chart("raspberry-01", points, METRICS[0], NOW - timedelta(days=1), NOW, 80))


# ── What it says ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_device_of_which_nothing_is_known_is_shown() -> None:
    text = shown(render.device(NOTHING, [], NOW), 80)
    assert text.startswith("pi\n")
    assert "Warnings" not in text


@pytest.mark.parametrize("device", FLEET, ids=lambda device: device.raspberry_id)
def test_no_line_is_wider_than_80_columns(device: Device) -> None:
    lines = shown(render.device(device, day(), NOW), 80).splitlines()
    assert max(map(cell_len, lines)) <= 80


hostile = st.text(st.characters(), max_size=30) | st.sampled_from(["\x1b[2J", "[red]x[/red]", "[/]", "\u202e", "a\nb"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | hostile,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(hostile, inner, max_size=3),
    max_leaves=8,
)


@given(hostile, json_values, json_values, json_values)
def test_nothing_that_a_device_sends_acts_on_the_terminal(
    text: str, ifaces: object, buses: object, extra: object
) -> None:
    device = replace(
        NOTHING,
        raspberry_id=text,
        wifi_status=text,
        cpu_temp=text,
        net_ifaces=ifaces,
        spi_buses=buses,
        extra={text: extra},
        report_warnings=[text],
    )
    written = shown(render.device(device, [], NOW), 80)
    assert {unicodedata.category(char) for char in written if char != "\n"} & UNSAFE == set()


def test_markup_is_shown_as_it_was_sent() -> None:
    text = shown(render.device(replace(EXAMPLE, wifi_status="[red]x[/red]", extra={"[b]": "[/]"}), [], NOW), 80)
    assert "[red]x[/red]" in text
    assert "[b]" in text


def test_values_that_are_missing_leave_a_gap_in_the_bars() -> None:
    (line,) = [each for each in shown(render.device(EXAMPLE, day(), NOW), 80).splitlines() if "Temp " in each]
    bars = line.partition("°C")[2].strip().rpartition("  ")[0]
    assert len(bars) == 36
    assert bars[10:13] == "   "
    assert " " not in bars[:10] + bars[13:]


def test_chart_has_no_line_over_a_gap() -> None:
    metric, step = METRICS[0], timedelta(minutes=1)
    early = [(NOW + n * step, 10.0) for n in range(100)]
    late = [(NOW + n * step, 20.0) for n in range(300, 400)]
    rows = render.chart("pi", early + late, metric, NOW, NOW + 400 * step, 80).splitlines()
    columns = drawn(rows)
    assert not columns & set(range(25, 50))
    assert columns & set(range(15))
    assert columns & set(range(60, 74))


def drawn(rows: list[str]) -> set[int]:
    """The columns in which a chart has a part of its line."""
    return {column for row in rows for column, char in enumerate(row[5:79]) if "\u2801" <= char <= "\u28ff"}


def test_chart_shows_that_a_device_has_gone_silent() -> None:
    points = [(NOW + n * timedelta(minutes=1), 10.0 + n % 3) for n in range(100)]
    rows = render.chart("pi", points, METRICS[0], NOW, NOW + timedelta(minutes=400), 80).splitlines()
    assert max(drawn(rows)) < 74 / 3


@pytest.mark.parametrize(
    ("values", "unit", "expected"),
    [
        ((42.0, 55.0), "°C", "42.0 … 55.0 °C"),
        ((42.0, 42.0), "°C", "42.0 °C"),
        ((999.0, 1_000_000.0), "B", "999 B … 1.00 MB"),
        ((1e6, 2e6), "B", "1.00 … 2.00 MB"),
        ((1, 3), "", "1 … 3"),
    ],
)
def test_unit_that_all_have_is_said_once(values: Sequence[float], unit: str, expected: str) -> None:
    assert figures(values, unit, " … ") == expected


@pytest.mark.parametrize(
    ("net_ifaces", "expected"),
    [
        ([{"name": "wlan0", "ip": "192.168.0.10"}], [("wlan0", ["192.168.0.10"])]),
        ([{"iface": "eth0", "address": "10.0.0.1/24", "netmask": "255.255.255.0"}], [("eth0", ["10.0.0.1"])]),
        ({"eth0": "10.0.0.1", "lo": ["127.0.0.1", "::1"]}, [("eth0", ["10.0.0.1"]), ("lo", ["127.0.0.1", "::1"])]),
        ({"wlan0": None}, [("wlan0", [])]),
        (["192.168.0.10"], []),
        ([{"ip": "192.168.0.10"}], []),
        ("wlan0", []),
        (None, []),
        (7, []),
    ],
)
def test_interfaces_are_found_by_their_names(net_ifaces: object, expected: list[tuple[str, list[str]]]) -> None:
    assert interfaces(net_ifaces) == expected


def test_interfaces_of_another_form_are_shown_as_sent() -> None:
    assert 'as sent       ["192.168.0.10"]' in shown(
        render.device(replace(EXAMPLE, net_ifaces=["192.168.0.10"]), [], NOW), 80
    )


def test_heading_of_spans_is_to_the_second_only_where_they_are_short() -> None:
    at = datetime(2026, 1, 1, 12, tzinfo=NOW.tzinfo)
    spans = [Bucket(at + timedelta(seconds=n), 1, (None,)) for n in (0, 30)]
    assert "12:00:30" in shown(render.buckets(spans, USUAL[:1]), 80)
    assert "12:00:00" not in shown(render.buckets(spans[:1], USUAL[:1]), 80)
