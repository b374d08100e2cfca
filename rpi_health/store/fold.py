"""The pure rule that turns a batch of reports into the fewest rows to write. No SQL, no clock.

One statement may touch a device once only (PostgreSQL refuses two), so a batch is folded first. The outcome must be
what applying the reports one by one would give: `tests/unit/test_fold.py` holds it to that.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from rpi_health.report import Report


class Folded(NamedTuple):
    """One row for `device_status`: the state of `report`, and when the device was heard of within the batch."""

    report: Report
    first_heard_at: datetime
    last_heard_at: datetime


def fold(reports: Iterable[Report]) -> list[list[Folded]]:
    """Fold reports in order of arrival into rounds, each holding a device at most once and sorted by device id.

    A report older than one before it changes no state. A report is dropped in favour of a newer one that carries all
    of its fields; where the newer one lacks some, the two go into successive rounds, because only the database knows
    whether the first of them is itself out of date. Fleets whose devices always send the same keys need one round.

    The rows are sorted because unsorted concurrent upserts deadlock; the devices of each round are among those of the
    first, so later rounds only touch rows that are locked already.
    """
    chains: dict[str, list[Folded]] = {}
    for report in reports:
        chain = chains.get(report.raspberry_id)
        if chain is None:
            chains[report.raspberry_id] = [Folded(report, report.heard_at, report.heard_at)]
        else:
            _extend(chain, report)
    return _rounds(chains)


def _extend(chain: list[Folded], report: Report) -> None:
    newest, first, last = chain[-1]
    first, last = min(first, report.heard_at), max(last, report.heard_at)
    if report.reported_at < newest.reported_at:
        chain[-1] = Folded(newest, first, last)
        return
    while chain and not chain[-1].report.present & ~report.present:
        first = min(first, chain.pop().first_heard_at)
    chain.append(Folded(report, first, last))


def _rounds(chains: dict[str, list[Folded]]) -> list[list[Folded]]:
    ordered = [chains[device] for device in sorted(chains)]
    depth = max(map(len, ordered), default=0)
    return [[chain[turn] for chain in ordered if len(chain) > turn] for turn in range(depth)]
