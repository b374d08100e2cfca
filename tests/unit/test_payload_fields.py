"""What becomes of each key: the contract's table of keys, and the fields that are lost so that the report is not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rpi_health.report import State
from tests.unit.payload_helpers import RECEIVED_AT, SEED_EXAMPLE, body_of, read, report, sent, state

WARNED = object()  # NULL, and a warning that names the key


def test_seeds_example_is_read_whole() -> None:
    assert read(json.dumps(SEED_EXAMPLE).encode()).state == State(
        wifi_status="connected",
        mem_usage="512 MB",
        mem_used_bytes=512_000_000,
        cpu_temp="48°C",
        cpu_temp_celsius=48.0,
        cpu_percent=12.5,
        gpio_used_count=3,
        usb_devices_count=2,
        net_bytes_sent=102400,
        net_bytes_recv=204800,
        spi_buses=["spi0.0"],
        i2c_buses=["i2c-1"],
        net_ifaces=[{"name": "wlan0", "ip": "192.168.0.10"}],
    )


def test_payload_is_what_was_sent() -> None:
    assert read(json.dumps(SEED_EXAMPLE).encode()).payload == SEED_EXAMPLE


NUMBERS = [
    (12.5, 12.5),
    (12, 12.0),
    (-1, -1.0),
    (250, 250.0),
    ("12.5", 12.5),
    ("12,5", 12.5),
    (" 12.5 ", 12.5),
    ("12.5%", 12.5),
    ("12.5 %", 12.5),
    ("1e1", 10.0),
    (True, WARNED),
    ("", WARNED),
    ("high", WARNED),
    ("nan", WARNED),
    ("inf", WARNED),
    ("1e999", WARNED),
    ("1_0", WARNED),
    ("٣", WARNED),
    ("1" * 5000, WARNED),
    (float("nan"), WARNED),
    (float("-inf"), WARNED),
    (2**64, WARNED),
    (10**4000, WARNED),
    ([1], WARNED),
    ({}, WARNED),
]
COUNTS = [
    (3, 3),
    (0, 0),
    (3.0, 3),
    ("3", 3),
    (" 3 ", 3),
    ("+3", 3),
    ("-0", 0),
    (2**31 - 1, 2**31 - 1),
    (3.5, WARNED),
    ("3.5", WARNED),
    ("three", WARNED),
    ("", WARNED),
    ("٣", WARNED),
    ("9" * 5000, WARNED),
    (True, WARNED),
    (-1, WARNED),
    ("-1", WARNED),
    (float("nan"), WARNED),
    (float("inf"), WARNED),
    (1e300, WARNED),
    (2**63, WARNED),
    (10**4000, WARNED),
    ([3], WARNED),
]
SWITCHES = [
    (True, True),
    (False, False),
    (1, True),
    (0, False),
    ("on", True),
    ("OFF", False),
    ("true", True),
    ("False", False),
    ("1", True),
    ("0", False),
    ("yes", WARNED),
    ("no", WARNED),
    ("", WARNED),
    (2, WARNED),
    (-1, WARNED),
    (0.5, WARNED),
    (float("nan"), WARNED),
    ([], WARNED),
    ({}, WARNED),
]
FIELD_VALUES = {
    "wifi_status": [
        ("connected", "connected"),
        ("", ""),
        ("café 📶", "café 📶"),
        (" as sent ", " as sent "),
        ("tab\tand\nlines\r", "tab\tand\nlines\r"),
        (1, WARNED),
        (1.5, WARNED),
        (True, WARNED),
        ([], WARNED),
        ({"ssid": "x"}, WARNED),
    ],
    "mem_usage": [("512 MB", "512 MB"), (45.5, "45.5"), (48, "48"), (True, WARNED), ([], WARNED), (2**64, WARNED)],
    "cpu_temp": [("48°C", "48°C"), (48.5, "48.5"), (48, "48"), (False, WARNED), ({}, WARNED), (float("nan"), WARNED)],
    "cpu_percent": NUMBERS,
    "gpio_used_count": [*COUNTS, (2**31, WARNED)],
    "usb_devices_count": [*COUNTS, (2**31, WARNED)],
    "net_bytes_sent": [*COUNTS, (2**31, 2**31), (2**63 - 1, 2**63 - 1), (str(2**63 - 1), 2**63 - 1)],
    "net_bytes_recv": [*COUNTS, (2**31, 2**31), (2**63 - 1, 2**63 - 1), (9.3e18, WARNED)],
    "led_internal_status": SWITCHES,
    "led_external_status": SWITCHES,
    "interval_s": [(60, 60.0), (0.5, 0.5), ("60", 60.0), (0, WARNED), (-1, WARNED), ("0", WARNED), (True, WARNED)],
    "spi_buses": [([], []), ("spi0", "spi0"), (1, 1), (False, False), ({"a": [None]}, {"a": [None]})],
    "i2c_buses": [([], []), ("", ""), (1.5, 1.5), (0, 0)],
    "net_ifaces": [(["é", "\n"], ["é", "\n"]), (2**64 - 1, 2**64 - 1), (-(2**63), -(2**63)), (2**64, WARNED)],
}


@pytest.mark.parametrize(
    ("key", "value", "stored"),
    [
        pytest.param(key, value, stored, id=f"{key}-{str(value)[:20]!r}-{type(value).__name__}")
        for key, values in FIELD_VALUES.items()
        for value, stored in values
    ],
)
def test_value_is_stored_or_lost_with_a_warning(key: str, value: Any, stored: Any) -> None:
    found = state(**{key: value})

    if stored is WARNED:
        assert getattr(found, key) is None
        assert found.report_warnings is not None
        assert len(found.report_warnings) == 1
        assert found.report_warnings[0].startswith(f"{key}: ")
    else:
        assert (getattr(found, key), type(getattr(found, key))) == (stored, type(stored))
        assert found.report_warnings is None


KB, MB, GB, TB = 10**3, 10**6, 10**9, 10**12
KIB, MIB, GIB, TIB = 2**10, 2**20, 2**30, 2**40


@pytest.mark.parametrize(
    ("text", "used_bytes"),
    [
        ("512 MB", 512 * MB),
        ("512MB", 512 * MB),
        ("512 mb", 512 * MB),
        ("512M", 512 * MB),
        ("512 MiB", 512 * MIB),
        ("512Mi", 512 * MIB),
        ("100 B", 100),
        ("100 kB", 100 * KB),
        ("100 KB", 100 * KB),
        ("100K", 100 * KB),
        ("100 KiB", 100 * KIB),
        ("1.5 GB", 15 * GB // 10),
        ("1,5 GB", 15 * GB // 10),
        ("1G", GB),
        ("1.5 GiB", 3 * GIB // 2),
        ("2 TB", 2 * TB),
        ("2 TiB", 2 * TIB),
        ("9223372036854775807 B", 2**63 - 1),
        (" 512 MB ", 512 * MB),
    ],
)
def test_memory_with_a_unit_is_told_in_bytes(text: str, used_bytes: int) -> None:
    found = state(mem_usage=text)

    assert (found.mem_usage, found.mem_used_bytes, found.mem_percent) == (text, used_bytes, None)
    assert found.report_warnings is None


@pytest.mark.parametrize(("text", "percent"), [("45%", 45.0), ("45.5 %", 45.5), ("45,5%", 45.5)])
def test_memory_in_percent_is_told_as_such(text: str, percent: float) -> None:
    found = state(mem_usage=text)

    assert (found.mem_usage, found.mem_used_bytes, found.mem_percent) == (text, None, percent)


@pytest.mark.parametrize("value", [512, 45.5, -1, 1e300, "512", "45,5"])
def test_memory_without_a_unit_is_not_guessed(value: Any) -> None:
    found = state(mem_usage=value)

    assert (found.mem_usage, found.mem_used_bytes, found.mem_percent) == (str(value), None, None)
    assert found.report_warnings is None


@pytest.mark.parametrize(
    "text",
    ["", "full", "MB", "512 furlongs", "-512 MB", "1,024 MB", "1 2 MB", "9223372036854775808 B", "512 PBs", "٥ MB"],
)
def test_memory_that_cannot_be_read_keeps_its_text(text: str) -> None:
    found = state(mem_usage=text)

    assert (found.mem_usage, found.mem_used_bytes, found.mem_percent) == (text, None, None)
    assert found.report_warnings is not None
    assert found.report_warnings[0].startswith("mem_usage: ")


@pytest.mark.parametrize(
    ("value", "celsius"),
    [
        ("48°C", 48.0),
        ("48'C", 48.0),
        ("48 C", 48.0),
        ("48,5", 48.5),
        ("48.0", 48.0),
        ("48.0 °C", 48.0),
        ("48.0 ° C", 48.0),
        ("48°", 48.0),
        ("48℃", 48.0),
        ("48ºC", 48.0),
        ("temp=48.3'C", 48.3),
        ("temp=48.3'C\n", 48.3),
        ("-5.5°C", -5.5),
        ("+5 c", 5.0),
        (48, 48.0),
        (48.5, 48.5),
        (0, 0.0),
    ],
)
def test_temperature_is_told_in_celsius(value: Any, celsius: float) -> None:
    found = state(cpu_temp=value)

    assert (found.cpu_temp, found.cpu_temp_celsius) == (str(value), celsius)
    assert found.report_warnings is None


@pytest.mark.parametrize("value", ["118 F", "118°F", "321 K", "hot", "", "°C", "48°C 50°C", "48312", 48312, "-300 °C"])
def test_temperature_that_cannot_be_read_keeps_its_text(value: Any) -> None:
    found = state(cpu_temp=value)

    assert (found.cpu_temp, found.cpu_temp_celsius) == (str(value), None)
    assert found.report_warnings is not None
    assert found.report_warnings[0].startswith("cpu_temp: ")


def test_degree_sign_that_was_not_utf8_does_not_cost_the_temperature() -> None:
    found = read('{"id":"pi","cpu_temp":"48°C"}'.encode("latin-1")).state

    assert (found.cpu_temp, found.cpu_temp_celsius) == ("48\ufffdC", 48.0)
    assert found.report_warnings == ["cpu_temp: invalid UTF-8, U+FFFD in its place"]


def test_absent_key_sets_nothing() -> None:
    assert sent(report()) == {"report_warnings"}


@pytest.mark.parametrize(
    ("key", "columns"),
    [
        ("mem_usage", {"mem_usage", "mem_used_bytes", "mem_percent"}),
        ("cpu_temp", {"cpu_temp", "cpu_temp_celsius"}),
        *[(key, {key}) for key in FIELD_VALUES if key not in ("mem_usage", "cpu_temp")],
    ],
)
def test_explicit_null_sets_its_columns_to_null(key: str, columns: set[str]) -> None:
    found = report(**{key: None})

    assert sent(found) == {"report_warnings", *columns}
    assert found.state == State()


def test_unreadable_value_sets_its_columns_to_null() -> None:
    found = report(mem_usage=True)

    assert sent(found) == {"report_warnings", "mem_usage", "mem_used_bytes", "mem_percent"}
    assert found.state.mem_usage is None


def test_id_and_timestamp_are_no_extra() -> None:
    assert sent(report(timestamp=RECEIVED_AT.isoformat())) == {"report_warnings"}


def test_unknown_keys_are_kept_in_extra() -> None:
    found = report(hostname="pi", load=[0.1, 0.2], Interval_s=None)

    assert found.state.extra == {"hostname": "pi", "load": [0.1, 0.2], "Interval_s": None}
    assert "extra" in sent(found)


def test_extra_keeps_256_keys_in_order() -> None:
    found = state(**{f"k{n:03}": n for n in range(300)})

    assert found.extra == {f"k{n:03}": n for n in range(256)}
    assert found.report_warnings == ["extra: 44 unknown keys dropped, beyond 256 keys or 65536 bytes"]


@pytest.mark.parametrize("character", ["x", "é", "€", "\n"])
def test_extra_keeps_64_kib(character: str) -> None:
    fields = {f"k{n:03}": character * 1000 for n in range(70)}
    found = read(json.dumps({"id": "pi", **fields}, ensure_ascii=False).encode()).state

    assert found.extra
    assert len(json.dumps(found.extra, ensure_ascii=False).encode()) <= 65_536
    assert found.report_warnings is not None
    assert found.report_warnings[-1].startswith("extra: ")


def test_numbers_that_grow_when_written_again_do_not_overflow_extra() -> None:
    body = b'{"id":"pi","a":[' + b",".join([b"1e15"] * 4000) + b'],"b":1}'

    assert read(body).state.extra == {}


def test_extra_that_loses_all_its_keys_is_empty() -> None:
    found = report(blob="x" * 70_000)

    assert found.state.extra == {}
    assert "extra" in sent(found)


def test_overlong_unknown_key_is_dropped() -> None:
    found = state(**{"k" * 257: 1, "k" * 256: 2})

    assert found.extra == {"k" * 256: 2}
    assert found.report_warnings is not None
    assert found.report_warnings[0].endswith("key longer than 256 characters dropped")


@pytest.mark.parametrize("key", ["wifi_status", "mem_usage", "cpu_temp"])
def test_text_over_its_column_is_cut(key: str) -> None:
    found = state(**{key: "é" * 300})

    assert len(getattr(found, key)) == (255 if key == "wifi_status" else 64)
    assert found.report_warnings is not None
    assert "cut to" in found.report_warnings[0]


@pytest.mark.parametrize(
    "escaped",
    [rb"\u0000", rb"\u001b", rb"\b", rb"\u007f", rb"\u009b", rb"\ud800", rb"\udfff", b"\0", b"\t", b"\n", b"\x7f"],
)
@pytest.mark.parametrize(
    ("template", "stored"),
    [
        (b'{"id":"pi","wifi_status":"a%sb%s"}', {"wifi_status": "ab"}),
        (b'{"id":"pi","net_ifaces":[{"k%s":["a%sb"]}]}', {"net_ifaces": [{"k": ["ab"]}]}),
        (b'{"id":"pi","k%s":"a%sb"}', {"extra": {"k": "ab"}}),
    ],
    ids=["text", "nested", "extra"],
)
def test_controls_and_lone_surrogates_are_removed_with_one_warning(
    escaped: bytes, template: bytes, stored: dict[str, Any]
) -> None:
    found = read(template % (escaped, escaped)).state

    assert {key: getattr(found, key) for key in stored} == stored
    assert found.report_warnings is not None
    assert len(found.report_warnings) == 1
    assert found.report_warnings[0].endswith("control characters or lone surrogates removed")


def test_escaped_tab_and_line_ends_stay() -> None:
    found = state(wifi_status="a\tb\r\n", spi_buses=["\t"])

    assert (found.wifi_status, found.spi_buses, found.report_warnings) == ("a\tb\r\n", ["\t"], None)


def test_surrogate_pair_is_a_character() -> None:
    assert read(b'{"id":"pi","wifi_status":"\\ud83c\\udf53"}').state.wifi_status == "🍓"


def test_invalid_utf8_is_replaced_with_a_warning_for_each_field() -> None:
    found = read(b'{"id":"pi","wifi_status":"caf\xe9","net_ifaces":[["\xff"]],"x\xff":1,"ok":2}').state

    assert found.wifi_status == "caf\ufffd"
    assert found.net_ifaces == [["\ufffd"]]
    assert found.extra == {"x\ufffd": 1, "ok": 2}
    assert found.report_warnings == [
        f"{key}: invalid UTF-8, U+FFFD in its place" for key in ("wifi_status", "net_ifaces", "x\ufffd")
    ]


@pytest.mark.parametrize(
    "number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"9" * 30, b"-" + b"9" * 5000]
)
def test_number_that_json_columns_cannot_hold_is_null_within(number: bytes) -> None:
    found = read(b'{"id":"pi","spi_buses":[1,%s,{"a":%s}],"load":%s}' % (number, number, number)).state

    assert found.spi_buses == [1, None, {"a": None}]
    assert found.extra == {"load": None}
    assert found.report_warnings is not None
    assert [warning.split(":")[0] for warning in found.report_warnings] == ["spi_buses", "load"]


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"1e999", b"9" * 30, b"9" * 5000, b"-1" + b"0" * 5000])
def test_number_that_no_column_can_hold_costs_only_its_field(number: bytes) -> None:
    found = read(b'{"id":"pi","wifi_status":"up","cpu_percent":%s,"net_bytes_sent":%s}' % (number, number)).state

    assert (found.wifi_status, found.cpu_percent, found.net_bytes_sent) == ("up", None, None)
    assert found.report_warnings is not None
    assert len(found.report_warnings) == 2


def test_warnings_are_bounded() -> None:
    found = state(**{f"k{n:03}": [2**70] for n in range(100)})

    assert found.report_warnings is not None
    assert len(found.report_warnings) == 32
    assert found.report_warnings[-1] == "report_warnings: there were more"


def test_warning_of_a_hostile_key_is_safe_to_print() -> None:
    found = read(b'{"id":"pi","\\u001b[31m\xe2\x80\xae' + b"x" * 150 + b'":1e999}').state

    assert found.report_warnings is not None
    assert found.report_warnings[0].startswith("\\x1b[31m\\u202exxx")
    assert all(len(warning) <= 200 for warning in found.report_warnings)


def test_overlong_nested_key_is_dropped() -> None:
    found = state(net_ifaces=[{"k" * 70_000: 1, "ip": 2}])

    assert found.net_ifaces == [{"ip": 2}]
    assert found.report_warnings == ["net_ifaces: key longer than 256 characters dropped"]


def test_body_larger_than_the_quick_path_reads_alike() -> None:
    padded = read(body_of(**{**SEED_EXAMPLE, "id": "pi"}).ljust(5000))

    assert padded.state == read(json.dumps(SEED_EXAMPLE).encode()).state
