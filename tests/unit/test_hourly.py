"""The figures of an hour are those of all its reports, however they came together."""

from __future__ import annotations

import math
from statistics import fmean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpi_health.metric import METRICS
from rpi_health.store.hourly import merged

VALUES = st.lists(st.none() | st.integers(-(2**53), 2**53) | st.floats(-1e6, 1e6))


def hour_of(values: list[Any]) -> dict[str, Any]:
    """The figures of reports with these values, each of every metric."""
    known = [value for value in values if value is not None]
    hour: dict[str, Any] = {"reports": len(values)}
    for metric in METRICS:
        hour[f"{metric.column}_min"] = min(known, default=None)
        hour[f"{metric.column}_mean"] = fmean(known) if known else None
        hour[f"{metric.column}_max"] = max(known, default=None)
        hour[f"{metric.column}_count"] = len(known)
    return hour


@given(VALUES, VALUES)
def test_merged_figures_are_those_of_all_reports(one: list[Any], other: list[Any]) -> None:
    found, expected = merged(hour_of(one), hour_of(other)), hour_of([*one, *other])
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if name.endswith("_mean") and value is not None:
            largest = max(abs(each) for each in [*one, *other] if each is not None)
            assert math.isclose(found[name], value, rel_tol=1e-9, abs_tol=1e-9 * largest + 1e-300)
        else:
            assert found[name] == value


@pytest.mark.parametrize(("one", "other"), [([None], [1]), ([1], [None]), ([], [1]), ([1], [])])
def test_reports_without_a_value_count_as_reports_only(one: list[Any], other: list[Any]) -> None:
    found = merged(hour_of(one), hour_of(other))
    assert (found["reports"], found["cpu_percent_count"]) == (len(one) + len(other), 1)
    assert [found[f"cpu_percent_{kind}"] for kind in ("min", "mean", "max")] == [1, 1, 1]
