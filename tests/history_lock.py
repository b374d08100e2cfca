"""Holding the history table, so that a consumer is caught between its writes and its commit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rpi_health.database import create_engine

_LOCK = {
    "postgresql": "LOCK TABLE device_history IN ACCESS EXCLUSIVE MODE",
    "mysql": "LOCK TABLES device_history WRITE",
    # Taken by the engine itself when a writer's transaction begins; it covers the whole file.
    "sqlite": "SELECT 1",
}


@contextmanager
def history_locked(url: str) -> Iterator[None]:
    """Nobody else can write to the history meanwhile. Waits for writes that are under way."""
    engine = create_engine(url, writer=True)
    try:
        with engine.connect() as connection, connection.begin():
            connection.exec_driver_sql(_LOCK[engine.dialect.name])
            yield
            if engine.dialect.name == "mysql":
                connection.exec_driver_sql("UNLOCK TABLES")
    finally:
        engine.dispose()
