"""What is read as a duration, and what is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpi_health.durations import parse_duration_s


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (0, 0.0),
        (5, 5.0),
        (0.5, 0.5),
        ("5", 5.0),
        ("0.5", 0.5),
        (" 90s ", 90.0),
        ("250ms", 0.25),
        ("5m", 300.0),
        ("5 min", 300.0),
        ("24h", 86400.0),
        ("24H", 86400.0),
        ("1.5d", 129600.0),
    ],
)
def test_duration_is_seconds_or_has_a_unit(value: object, seconds: float) -> None:
    assert parse_duration_s(value) == seconds


@pytest.mark.parametrize(
    "value",
    [
        *("", "s", "-5", "+5", "5x", "5 weeks", "1e3", "1h30m", "inf", "nan", "٥", ".", "9" * 400),
        *(None, True, [], b"5", -1, -0.5, float("nan"), float("inf"), 10**400),
    ],
)
def test_anything_else_is_no_duration(value: object) -> None:
    with pytest.raises(ValueError, match="give a duration such as"):
        parse_duration_s(value)


@given(st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.booleans(), st.binary()))
def test_duration_is_finite_or_a_value_error(value: object) -> None:
    try:
        seconds = parse_duration_s(value)
    except ValueError:
        return
    assert 0 <= seconds < float("inf")
