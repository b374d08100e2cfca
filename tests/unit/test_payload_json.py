"""Ordinary JSON is read by a faster parser, and no differently than by the careful one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpi_health.errors import Rejection
from rpi_health.payload import jsontext
from tests.unit.payload_helpers import SEED_EXAMPLE
from tests.unit.test_payload_properties import JSON, NEAR_REPORTS

#: What parsers are known to differ in.
TRICKY = [
    *("1e999", "-1E400", "NaN", "-Infinity", "Infinity", "nan", "01", "1.", ".5", "-", "+1", "-0", "-0.0", "1e5"),
    *("18446744073709551616", "9" * 400, "0.1000000000000000055511151231257827", "2.2250738585072011e-308", "1e23"),
    *(r'"\ud800"', r'"\ud83d\ude00"', r'"\u0000"', '"\t"', '"\x7f"', '"\u2028"', "True", "'a'", "[1,]", '{"a":1,}'),
    *("[1] ", " 1", "1 2", "/**/1", "\ufeff1", '{"a":1,"a":2}', '{"\\u0061":1,"a":2}', "[" * 40 + "]" * 40, '"' * 3),
]


def carefully(body: bytes) -> Any:
    """What the careful parser makes of a body; None if that is no object, or not read at all."""
    try:
        return jsontext._load_unusual(body, None)[0]
    except Rejection:
        return None


def assert_read_alike(body: bytes) -> None:
    ordinary = jsontext._load_ordinary(body)
    if ordinary is not None:
        # By their text: NaN equals nothing, and 1 equals 1.0 and True.
        assert repr(ordinary) == repr(carefully(body))


@pytest.mark.parametrize("value", TRICKY)
def test_what_parsers_differ_in_is_read_alike(value: str) -> None:
    for body in (value, f'{{"id": "pi", "x": {value}}}', f'{{"id": "pi", "x": [{value}, {{"y": {value}}}]}}'):
        assert_read_alike(body.encode())


@given(JSON | NEAR_REPORTS, st.booleans(), st.sampled_from([None, 2]))
def test_any_json_is_read_alike(value: Any, ascii_only: bool, indent: int | None) -> None:
    assert_read_alike(json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass"))


@given(st.data())
def test_damaged_json_is_read_alike(data: st.DataObject) -> None:
    body = json.dumps({**SEED_EXAMPLE, "more": [1.5, None, True, {"a": "\\"}]}).encode()
    start = data.draw(st.integers(0, len(body)))
    end = data.draw(st.integers(start, min(len(body), start + 3)))
    assert_read_alike(body[:start] + data.draw(st.binary(max_size=3)) + body[end:])


def test_example_is_ordinary() -> None:
    assert jsontext._load_ordinary(json.dumps(SEED_EXAMPLE).encode()) == SEED_EXAMPLE
