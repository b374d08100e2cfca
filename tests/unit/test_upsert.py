"""What the statements must say that no single run can prove."""

from __future__ import annotations

import pytest

from rpi_health.store import upsert

STATEMENTS = upsert.staged_statements()


@pytest.mark.parametrize(
    ("statement", "order"),
    [
        (STATEMENTS.upsert_status, 'ORDER BY rpi_health_stage.raspberry_id COLLATE "C"'),
        (STATEMENTS.insert_history, 'ORDER BY rpi_health_stage.raspberry_id COLLATE "C", rpi_health_stage.reported_at'),
    ],
    ids=["status", "history"],
)
def test_postgresql_takes_locks_in_the_order_of_the_keys_whatever_its_plan(statement: str, order: str) -> None:
    assert order in " ".join(statement.split())


@pytest.mark.parametrize("dialect", ["mysql", "mariadb"])
def test_mysql_changes_what_guards_the_row_after_all_that_is_guarded(dialect: str) -> None:
    _, _, changes = upsert.row_statements(dialect).upsert_status.tail.partition("ON DUPLICATE KEY UPDATE ")
    assigned = [part.split(" = ")[0].strip() for part in changes.split(", ") if " = " in part]
    assert assigned[-1] == "reported_at"
    assert len(assigned) == len(upsert.STATUS_COLUMNS) - 2  # all but the key and first_seen
