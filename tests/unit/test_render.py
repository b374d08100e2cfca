"""The status table as people see it. `UPDATE_GOLDEN=1 pytest tests/unit/test_render.py` accepts a new look."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from rpi_health.device import STATUS_COLUMNS, Device
from rpi_health.example import REPORT
from rpi_health.hearing import STATES
from rpi_health.presence import Overview, Sighting
from rpi_health.render import fleet, summary
from rpi_health.render import status as rendering
from rpi_health.render.units import HOT, WARM, ago, byte_count, heat
from tests.unit.goldens import assert_golden

NOW = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)

EXAMPLE = Device(
    raspberry_id="raspberry-01",
    state="online",
    wifi_status="connected",
    mem_usage="512 MB",
    mem_used_bytes=512_000_000,
    mem_percent=None,
    cpu_temp="48°C",
    cpu_temp_celsius=48.0,
    cpu_percent=12.5,
    gpio_used_count=3,
    usb_devices_count=2,
    net_bytes_sent=102400,
    net_bytes_recv=204800,
    led_internal_status=False,
    led_external_status=False,
    interval_s=None,
    spi_buses=REPORT["spi_buses"],
    i2c_buses=REPORT["i2c_buses"],
    net_ifaces=REPORT["net_ifaces"],
    extra=None,
    report_warnings=None,
    first_seen=NOW,
    reported_at=NOW,
    last_update=NOW - timedelta(seconds=12),
)
NOTHING = Device("pi", "offline", **dict.fromkeys(list(Device.__dataclass_fields__)[2:]))  # type: ignore[arg-type]

FLEET = [
    EXAMPLE,
    replace(
        EXAMPLE, raspberry_id="raspberry-02", state="late", cpu_temp_celsius=76.0, cpu_percent=100.0, mem_percent=91.0
    ),
    replace(EXAMPLE, raspberry_id="raspberry-03", cpu_temp_celsius=81.5, net_bytes_sent=2**63 - 1),
    replace(EXAMPLE, raspberry_id="greenhouse-04", wifi_status="disconnected", net_ifaces=[], report_warnings=["a"]),
    replace(EXAMPLE, raspberry_id="温度計-05", cpu_temp="warm", cpu_temp_celsius=None, mem_used_bytes=1_500_000_000),
    replace(NOTHING, raspberry_id="[red]x", last_update=NOW - timedelta(days=3)),
]
CONSUMER = Sighting("pi", 1, "1.0", "rasp_data", True, 0, 12.5, NOW, NOW, NOW - timedelta(seconds=3))


def overview(
    devices: Sequence[Device],
    *consumers: Sighting,
    unseen: int = 0,
    heard_until: datetime | None = NOW - timedelta(seconds=3),
) -> Overview:
    """A fleet that these devices are, and so many that are not shown and online."""
    counts = {state: sum(device.state == state for device in devices) for state in STATES}
    heats = [heat(device.cpu_temp_celsius) for device in devices if device.cpu_temp_celsius is not None]
    return Overview(
        {**counts, "online": counts["online"] + unseen},
        heats.count(HOT),
        heats.count(WARM),
        max((device.last_update for device in devices if device.last_update is not None), default=None),
        consumers,
        heard_until,
    )


def terminal(width: int, *, colour: bool = False) -> Console:
    system: Any = "standard" if colour else None
    return Console(file=io.StringIO(), width=width, color_system=system, force_terminal=colour, no_color=False)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def shown(devices: list[Device], width: int, *, colour: bool = False) -> str:
    """What `status` prints on a terminal of this width."""
    console = terminal(width, colour=colour)
    console.print(fleet(devices, NOW, console), crop=False)
    console.print()
    console.print(summary(len(devices), NOW, overview(devices, CONSUMER)))
    return printed(console)


def lines(devices: list[Device], width: int) -> list[str]:
    return [line.rstrip() for line in shown(devices, width).splitlines()]


# ── The look ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("colour", [False, True], ids=["plain", "colour"])
@pytest.mark.parametrize("width", [80, 160])
def test_table_looks_as_it_did(width: int, colour: bool) -> None:
    assert_golden(f"status_{width}{'_colour' if colour else ''}.txt", shown(FLEET, width, colour=colour))


@pytest.mark.parametrize(
    "device",
    [
        EXAMPLE,
        replace(EXAMPLE, net_ifaces="192.168.100.200", cpu_percent=100.0),
        replace(EXAMPLE, net_ifaces="192.168.100.200", last_update=NOW - timedelta(minutes=119)),
        replace(EXAMPLE, state="offline", raspberry_id="raspberry-0001"),
    ],
)
def test_typical_row_is_not_cut_at_80_columns(device: Device) -> None:
    assert "…" not in shown([device], 80)


def test_wider_terminals_show_more() -> None:
    titles = {width: lines([EXAMPLE], width)[0].split("  ") for width in (40, 60, 80, 100, 120, 160)}
    counts = [len([title for title in each if title]) for each in titles.values()]
    assert counts == sorted(counts)
    assert counts[0] < counts[2] < counts[-1]


def test_numbers_are_never_cut() -> None:
    long = replace(EXAMPLE, raspberry_id="x" * 128, wifi_status="y" * 128, net_ifaces="2001:db8:85a3::8a2e:370:7334")
    for width in (80, 100, 120, 160):
        row = lines([long], width)[2]
        assert [part for part in ("12 s ago", "48.0 °C", "12.5 %", "512 MB") if part not in row] == []


def test_id_is_the_same_width_for_all_rows_whatever_its_script() -> None:
    ids = ["a", "温度計-厨房-01", "é", "🍓", "[/]", "\x1b[31mred", "x" * 128]
    rows = lines([replace(EXAMPLE, raspberry_id=each) for each in ids], 120)[2:-3]
    assert len(rows) == len(ids)
    assert len({cell_len(row.partition("12 s ago")[0]) for row in rows}) == 1


def test_no_device_is_a_heading_and_a_count() -> None:
    assert lines([], 80)[0].startswith("Device  State  Last heard")
    assert lines([], 80)[-2] == "0 devices"


def test_thousands_of_devices_have_a_row_each() -> None:
    devices = [replace(EXAMPLE, raspberry_id=f"pi-{number:04d}") for number in range(2000)]
    rows = lines(devices, 80)
    assert [row.split()[0] for row in rows[2:-3]] == [device.raspberry_id for device in devices]
    assert rows[-2] == "2,000 devices · ● 2,000 online"


def test_unknown_values_are_dashes() -> None:
    heading, _, row, *_ = lines([NOTHING], 160)
    assert row.split() == ["pi", "✖", "offline", *["–"] * 11]
    assert heading.startswith("Device")


def said(devices: Sequence[Device], fleet: Overview) -> list[str]:
    console = terminal(200)
    console.print(summary(len(devices), NOW, fleet))
    return printed(console).splitlines()


def test_summary_counts_devices_by_state_and_heat_and_names_the_last_report() -> None:
    assert said(FLEET, overview(FLEET))[0] == ("6 devices · ✖ 1 offline · ▲ 1 late · ● 4 online · 1 hot · 1 warm")
    assert said([NOTHING], overview([NOTHING]))[0] == "1 device · ✖ 1 offline"
    assert said([], overview([], unseen=7))[0] == "0 of 7 devices · ● 7 online"
    assert said([EXAMPLE], overview([EXAMPLE], unseen=6))[0].startswith("1 of 7 devices · ● 7 online")


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("consumers", "heard_until", "expected"),
    [
        ([CONSUMER], NOW, ["1 consumer · 12.5 reports/s · backlog 0 · last report 12 s ago"]),
        (
            [CONSUMER, CONSUMER._replace(backlog=5)],
            NOW,
            ["2 consumers · 25.0 reports/s · backlog 5 · last report 12 s ago"],
        ),
        (
            [CONSUMER._replace(backlog=1234)],
            NOW - HOUR,
            [
                "1 consumer · 12.5 reports/s · backlog 1,234 · last report 12 s ago",
                "A backlog is being drained: states as of 2026-01-01 11:00:00 UTC, 60 min ago.",
            ],
        ),
        (
            [CONSUMER._replace(connected=False, backlog=None, rate=0.0)],
            NOW - HOUR,
            [
                "1 consumer · 0.0 reports/s · last report 12 s ago",
                "No consumer is connected to the broker: states as of 2026-01-01 11:00:00 UTC, 60 min ago.",
            ],
        ),
        (
            [],
            NOW - timedelta(seconds=3),
            [
                "0 consumers · last report 12 s ago",
                "No consumer is running: states as of 2026-01-01 11:59:57 UTC, 3 s ago.",
            ],
        ),
        (
            [CONSUMER._replace(updated_at=NOW - HOUR)],
            NOW - HOUR,
            [
                "0 consumers · 1 ended without a word 60 min ago · last report 12 s ago",
                "No consumer is running: states as of 2026-01-01 11:00:00 UTC, 60 min ago.",
            ],
        ),
    ],
)
def test_summary_says_who_hears_the_fleet_and_why_nobody_does(
    consumers: list[Sighting], heard_until: datetime, expected: list[str]
) -> None:
    assert said([EXAMPLE], overview([EXAMPLE], *consumers, heard_until=heard_until))[1:] == expected


def test_without_any_consumer_ever_states_are_as_of_the_last_report() -> None:
    fleet = overview([EXAMPLE], heard_until=None)
    assert said([EXAMPLE], fleet)[1:] == [
        "0 consumers · last report 12 s ago",
        "No consumer is running: states as of the last report.",
    ]


@pytest.mark.parametrize(("state", "code"), [("online", "32"), ("late", "33"), ("offline", "1;31")])
def test_state_has_a_sign_and_a_colour(state: str, code: str) -> None:
    sign = {"online": "●", "late": "▲", "offline": "✖"}[state]
    assert f"\x1b[{code}m{sign} {state}" in shown([replace(EXAMPLE, state=state)], 80, colour=True)
    assert f"{sign} {state}" in shown([replace(EXAMPLE, state=state)], 80)


def test_columns_that_are_asked_for_are_shown_in_that_order_whatever_the_width() -> None:
    console = terminal(50)
    console.print(fleet([EXAMPLE], NOW, console, ["temp", "id", "warnings", "received"]), crop=False)
    assert printed(console).splitlines()[0].split() == ["Temp", "Device", "Warnings", "Received"]


def test_each_column_has_a_name() -> None:
    titles = [column.title for column in rendering._ALL_COLUMNS]
    assert len(titles) == len(STATUS_COLUMNS)
    console = terminal(200)
    console.print(fleet([EXAMPLE], NOW, console, STATUS_COLUMNS), crop=False)
    assert [title.strip() for title in printed(console).splitlines()[0].split("  ") if title.strip()] == titles


# ── What devices send does nothing to the terminal ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "visible"),
    [
        ("[/]", "[/]"),
        ("[red]x", "[red]x"),
        ("[link=https://x]y[/link]", "[link=https://x]y[/link]"),
        (":boom:", ":boom:"),
        ("{x} %s", "{x} %s"),
        ("\x1b[31mx\x1b]0;title\x07", "\\x1b[31mx\\x1b]0;title\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("a\u202eb\u2066c\u200bd", "a\\u202eb\\u2066c\\u200bd"),
        ("a\r\nb\tc\x00", "a\\r\\nb\\tc\\x00"),
        ("🍓", "🍓"),
        ("温度計", "温度計"),
        ("=cmd|'/C calc'!A1", "=cmd|'/C calc'!A1"),
    ],
)
def test_hostile_text_shows_as_what_it_is(text: str, visible: str) -> None:
    for field in ("raspberry_id", "wifi_status"):
        output = shown([replace(EXAMPLE, **{field: text})], 200)  # type: ignore[arg-type]
        assert visible in output
        assert {char for char in output if ord(char) < 32 or 127 <= ord(char) < 160} == {"\n"}
    assert visible[:6] in shown([replace(EXAMPLE, cpu_temp=text, cpu_temp_celsius=None)], 200)


anything = st.one_of(st.none(), st.text(max_size=150))
numbers = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))
counters = st.one_of(st.none(), st.integers(0, 2**63 - 1))
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=20), st.ip_addresses().map(str)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=9), inner, max_size=3)),
    max_leaves=5,
)
devices = st.builds(
    lambda **fields: replace(NOTHING, **fields),
    raspberry_id=st.text(min_size=1, max_size=128),
    wifi_status=anything,
    mem_usage=anything,
    mem_percent=numbers,
    mem_used_bytes=counters,
    cpu_temp=anything,
    cpu_temp_celsius=numbers,
    cpu_percent=numbers,
    gpio_used_count=st.one_of(st.none(), st.integers()),
    usb_devices_count=counters,
    net_bytes_sent=counters,
    net_bytes_recv=counters,
    net_ifaces=json_values,
    report_warnings=json_values,
    last_update=st.one_of(st.none(), st.datetimes(timezones=st.just(timezone.utc))),
)


@given(st.lists(devices, max_size=4), st.integers(20, 200))
def test_no_line_is_wider_than_the_terminal(devices: list[Device], width: int) -> None:
    output = shown(devices, width).splitlines()
    assert max(cell_len(line) for line in output) <= width
    assert len([line for line in output if line]) >= 3


# With these there is room for each column, if only for a little of its text.
usual = {"cpu_temp": "48°C", "mem_usage": "512 MB", "gpio_used_count": 3}


@given(st.lists(devices.map(lambda device: replace(device, **usual)), max_size=4), st.integers(20, 200))
def test_table_is_the_one_that_rich_would_draw(devices: list[Device], width: int) -> None:
    columns = [column for column in rendering._ALL_COLUMNS if column.from_width <= width]
    table = rendering._layout(columns)
    for device in devices:
        cells = [column.cell(device, NOW) for column in columns]
        table.add_row(*[Text(text, style=style, no_wrap=True, overflow="ellipsis") for text, style in cells])
    rich, ours = terminal(width, colour=True), terminal(width, colour=True)
    rich.print(table)
    ours.print(fleet(devices, NOW, ours), crop=False)
    assert printed(ours) == printed(rich)


# ── Cells ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("celsius", "code"),
    [
        (-5.0, "32"),
        (74.9, "32"),
        (74.94, "32"),
        (74.96, "33"),
        (75.0, "33"),
        (79.9, "33"),
        (79.96, "1;31"),
        (80.0, "1;31"),
        (999.0, "1;31"),
    ],
)
def test_temperature_is_green_yellow_from_75_and_red_from_80(celsius: float, code: str) -> None:
    output = shown([replace(EXAMPLE, cpu_temp_celsius=celsius)], 80, colour=True)
    assert f"\x1b[{code}m{celsius:.1f} °C\x1b[0m" in output
    assert ("hot" in output) == (code == "1;31")
    assert ("warm" in output) == (code == "33")


@pytest.mark.parametrize("status", ["disconnected", "DOWN", "off", "Offline"])
def test_lost_wifi_is_red(status: str) -> None:
    assert f"\x1b[31m{status}" in shown([replace(EXAMPLE, wifi_status=status)], 100, colour=True)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"mem_percent": 45.0}, "45.0 %"),
        ({"mem_used_bytes": 537_000_000}, "537 MB"),
        ({"mem_used_bytes": None}, "512 MB"),
        ({"mem_used_bytes": None, "mem_usage": "half of what there is"}, "half of w…"),
        ({"cpu_percent": 1e300}, "1e+300 %"),
        ({"cpu_temp_celsius": None}, "48°C"),
        ({"gpio_used_count": 2**63}, "9.22e+18"),
        ({"report_warnings": ["a", "b"]}, "2"),
        ({"report_warnings": {"not": "a list"}}, "–"),
    ],
)
def test_cell_shows_the_best_that_is_known(fields: dict[str, Any], expected: str) -> None:
    assert expected in lines([replace(EXAMPLE, **fields)], 160)[2]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3600, "0 s ago"),
        (0, "0 s ago"),
        (0.9, "0 s ago"),
        (12, "12 s ago"),
        (119.9, "119 s ago"),
        (120, "2 min ago"),
        (179, "2 min ago"),
        (7199, "119 min ago"),
        (7200, "2 h ago"),
        (172_799, "47 h ago"),
        (172_800, "2 d ago"),
        (400 * 86_400, "400 d ago"),
    ],
)
def test_age_is_in_the_largest_unit_of_which_there_are_two(seconds: float, text: str) -> None:
    assert ago(NOW - timedelta(seconds=seconds), NOW) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (9_994, "9.99 kB"),
        (9_996, "10.0 kB"),
        (102_400, "102 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (1_500_000_000, "1.50 GB"),
        (2**63 - 1, "9223 PB"),
    ],
)
def test_bytes_have_three_digits(count: int, text: str) -> None:
    assert byte_count(count) == text
