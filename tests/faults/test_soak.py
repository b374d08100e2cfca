"""A short soak. `make soak` is the long one."""

from __future__ import annotations

import pytest

from tests.soak.run import soak

SECONDS = 15


@pytest.mark.parametrize("database", ["sqlite", "postgresql", "mariadb"])
def test_random_faults_lose_nothing(database: str) -> None:
    tally = soak(database, SECONDS, seed=2, say=print)
    assert sum(tally.faults.values()) == len(tally.recoveries_s) >= 2
    assert tally.verdict is not None
    assert tally.verdict.stored == tally.reports > 0
