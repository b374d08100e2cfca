"""PostgreSQL: COPY into a temporary table, then one INSERT … SELECT … ON CONFLICT for each table.

All on the driver's own cursor: what SQLAlchemy adds to each statement is a good part of what a small batch costs. In
the binary format, which costs driver and server half of what text does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from rpi_health.report import Report
from rpi_health.store import upsert
from rpi_health.store.fold import Folded
from rpi_health.store.rows import Column, state_columns


class StagedTables:
    """Writes rows of reports, and receipts, within the transaction of a connection."""

    def __init__(self) -> None:
        self._sql = upsert.staged_statements()

    def write(self, connection: sa.Connection, reports: Sequence[Report], rounds: list[list[Folded]]) -> None:
        """Write a batch: its history, and the rounds of `fold` one after the other."""
        driver: Any = connection.connection.driver_connection
        with driver.cursor() as cursor:
            # Each time, though it lasts as long as the connection: a pooler may have given us another one.
            cursor.execute(self._sql.create_stage)
            with cursor.copy(self._sql.copy_stage) as copy:
                copy.set_types(self._sql.stage_types)
                for row in zip(*_staged(reports, rounds)):
                    copy.write_row(row)
            for turn in range(1, len(rounds) + 1):
                cursor.execute(self._sql.upsert_status, {"turn": turn})
            cursor.execute(self._sql.insert_history)

    def insert_receipts(self, connection: sa.Connection, receipts: Iterable[tuple[str, bytes, datetime]]) -> None:
        """Insert devices, digests and when they were received; what is there stays."""
        driver: Any = connection.connection.driver_connection
        with driver.cursor() as cursor:
            cursor.executemany(self._sql.insert_receipt, [dict(zip(upsert.RECEIPT_COLUMNS, row)) for row in receipts])


def _staged(reports: Sequence[Report], rounds: list[list[Folded]]) -> list[Column]:
    """The columns for `upsert.STAGE_COLUMNS`: the rows of each round, then the reports that are for history only."""
    folded = [each for round_ in rounds for each in round_]
    turns = [turn for turn, round_ in enumerate(rounds, start=1) for _ in round_]
    current = {id(each.report) for each in folded}
    others = [report for report in reports if id(report) not in current]
    staged = [*(each.report for each in folded), *others]
    nothing = [None] * len(others)
    return [
        [*turns, *(0 for _ in others)],
        [report.raspberry_id for report in staged],
        [*(each.first_heard_at.timestamp() for each in folded), *nothing],
        [*(each.last_heard_at.timestamp() for each in folded), *nothing],
        [report.reported_at.timestamp() for report in staged],
        [report.present for report in staged],
        *state_columns(staged),
        [report.digest for report in staged],
        [report.received_at.timestamp() for report in staged],
    ]
