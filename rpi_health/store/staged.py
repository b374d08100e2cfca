"""PostgreSQL: COPY into a temporary table, then one INSERT … SELECT … ON CONFLICT for each table.

All on the driver's own cursor: what SQLAlchemy adds to each statement is a good part of what a small batch costs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from rpi_health.report import Report
from rpi_health.store import upsert
from rpi_health.store.fold import Folded
from rpi_health.store.rows import Row, status_row, with_offset, without_json


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
                for row in _staged(reports, rounds):
                    copy.write_row(row)
            for turn in range(1, len(rounds) + 1):
                cursor.execute(self._sql.upsert_status, {"turn": turn})
            cursor.execute(self._sql.insert_history)

    def insert_receipts(self, connection: sa.Connection, receipts: Iterable[tuple[str, bytes, datetime]]) -> None:
        """Insert devices, digests and when they were received; what is there stays."""
        driver: Any = connection.connection.driver_connection
        with driver.cursor() as cursor:
            cursor.executemany(self._sql.insert_receipt, [dict(zip(upsert.RECEIPT_COLUMNS, row)) for row in receipts])


def _staged(reports: Sequence[Report], rounds: list[list[Folded]]) -> Iterator[Row]:
    """The rows for `upsert.STAGE_COLUMNS`: those of each round, then the reports that are for the history only."""
    current = set()
    for turn, round_ in enumerate(rounds, start=1):
        for folded in round_:
            report = folded.report
            current.add(id(report))
            row = status_row(folded, with_offset)
            heard_first = folded.first_heard_at is report.received_at
            yield (turn, *row, report.digest, row[1] if heard_first else with_offset(report.received_at))
    for report in reports:
        if id(report) not in current:
            heads = (0, report.raspberry_id, None, None, with_offset(report.reported_at), report.present)
            yield (*heads, *without_json(report.state), report.digest, with_offset(report.received_at))
