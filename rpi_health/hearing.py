"""The state of a device: a pure rule over when it was heard of, and when anybody listened.

A device is judged as of the last moment when the fleet was being heard, and by the time for which somebody listened
and it was silent: while broker, database or consumers are away, nobody falls silent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, NamedTuple

#: By rank: the greater, the more trouble.
STATES = ("online", "late", "offline")
_ONLINE, _LATE, _OFFLINE = range(3)
#: A device may say anything; so many times it, a database can still reckon with.
_LONGEST_INTERVAL_S = 1e9


class Rules(NamedTuple):
    """When a device is in trouble.

    Args:
        interval_s: how often a device reports that does not say so itself, in seconds.
        late_after, offline_after: the intervals of silence that make it late, and offline.
    """

    interval_s: float = 60.0
    late_after: float = 2.0
    offline_after: float = 5.0


class Hearing(NamedTuple):
    """When the fleet was being heard, in whole seconds since 1970.

    Args:
        as_of: the last moment when it was.
        gaps: from when to when it was not, before that; disjoint.
    """

    as_of: int
    gaps: tuple[tuple[int, int], ...] = ()


def hearing(spans: Iterable[tuple[datetime, datetime]], last_report: datetime | None) -> Hearing:
    """What lies between the spans of time in which the fleet was being heard.

    Args:
        spans: from when to when, aware, in any order; they may overlap.
        last_report: when any device was heard of last: what counts where there are no spans.
    """
    merged: list[list[int]] = []
    for since, until in sorted(spans):
        start, end = int(since.timestamp()), int(until.timestamp())
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    if not merged:
        return Hearing(int(last_report.timestamp()) if last_report is not None else 0)
    return Hearing(merged[-1][1], tuple((before[1], after[0]) for before, after in zip(merged, merged[1:])))


def _pick(condition: bool, yes: Any, no: Any) -> Any:
    return yes if condition else no


def rank(heard: Any, interval_s: Any, known: Hearing, rules: Rules, pick: Callable[..., Any] = _pick) -> Any:
    """How much trouble a device is in: the position of its state in `STATES`.

    It works on numbers, and on SQL expressions as well, whose operators make SQL: one rule for both.

    Args:
        heard: when the device was heard of last, in whole seconds since 1970; 0 for never.
        interval_s: how often it reports, in seconds.
        pick: what `yes if condition else no` is; called with condition, yes and no.
    """
    silence = known.as_of - heard
    for start, end in known.gaps:
        missed = end - pick(heard > start, heard, start)
        silence = silence - pick(missed > 0, missed, 0)
    interval_s = pick(interval_s > _LONGEST_INTERVAL_S, _LONGEST_INTERVAL_S, interval_s)
    late = pick(silence >= rules.late_after * interval_s, _LATE, _ONLINE)
    return pick(silence >= rules.offline_after * interval_s, _OFFLINE, late)


def state(heard: datetime | None, interval_s: float | None, known: Hearing, rules: Rules) -> str:
    """The state of a device, one of `STATES`.

    Args:
        heard: when it was heard of last; aware. None: never.
        interval_s: how often it says that it reports; None where it does not.
    """
    seconds = int(heard.timestamp()) if heard is not None else 0
    return STATES[rank(seconds, interval_s or rules.interval_s, known, rules)]
