"""What a failpoint specification means. That the points are reached is for `tests/faults/test_failpoints.py`."""

from __future__ import annotations

import pytest

from rpi_health.errors import ConfigurationError
from rpi_health.failpoints import POINTS, Failpoint, Failpoints, Injected, parse


def test_specification_names_points_actions_seconds_and_turns() -> None:
    text = "before_commit=crash, delivered=sleep:2.5@3,after_commit=raise@2"
    assert parse(text) == {
        "before_commit": Failpoint("crash", 0, 1),
        "delivered": Failpoint("sleep", 2.5, 3),
        "after_commit": Failpoint("raise", 0, 2),
    }


@pytest.mark.parametrize("text", ["", "nowhere=crash", "delivered", "delivered=explode", "delivered=sleep:x", "a=b,c"])
def test_what_is_no_specification_is_refused_with_what_would_be_one(text: str) -> None:
    with pytest.raises(ConfigurationError, match="POINT=ACTION"):
        parse(text)


@pytest.mark.parametrize("point", POINTS)
def test_point_raises_in_its_turn_and_in_no_other(point: str) -> None:
    failpoints = Failpoints(parse(f"{point}=raise@2"))
    failpoints.reach(point)
    with pytest.raises(Injected):
        failpoints.reach(point)
    failpoints.reach(point)
