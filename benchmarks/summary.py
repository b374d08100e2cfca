"""From samples to what is reported: medians, spans, ratios and percentiles. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Span(NamedTuple):
    """The middle and the ends of some samples, in their unit."""

    median: float
    least: float
    most: float


def span(samples: Sequence[float]) -> Span:
    """The span of at least one sample."""
    return Span(statistics.median(samples), min(samples), max(samples))


def percentile(samples: Sequence[float], percent: float) -> float:
    """The smallest sample that so many percent of the samples do not exceed (nearest rank)."""
    rank = math.ceil(len(samples) * percent / 100)
    return sorted(samples)[max(rank, 1) - 1]


def ratios(medians: Mapping[str, float], to: Sequence[str]) -> dict[str, dict[str, float]]:
    """For each name, the ratio of its median to that of each of the names in `to` that there is."""
    present = [name for name in to if name in medians]
    return {name: {other: median / medians[other] for other in present} for name, median in medians.items()}
