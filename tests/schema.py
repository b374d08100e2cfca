"""Looking at a database under test, whatever its tables are, and cutting a migration off in the middle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from rpi_health import migrations
from rpi_health.database import create_engine
from rpi_health.models import Base
from rpi_health.schema import VERSION_TABLE


@contextmanager
def connected(url: str) -> Iterator[sa.Connection]:
    """A connection in a transaction that is committed."""
    engine = create_engine(url, writer=True)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def run(url: str, *statements: str) -> None:
    """Execute SQL."""
    with connected(url) as connection:
        for statement in statements:
            connection.execute(sa.text(statement))


def scalars(url: str, sql: str) -> list[Any]:
    """The first column of what a query gives."""
    with connected(url) as connection:
        return list(connection.execute(sa.text(sql)).scalars())


def tables(url: str) -> set[str]:
    """The names of all tables, but for the one in which the migrations keep their revision."""
    with connected(url) as connection:
        return set(sa.inspect(connection).get_table_names()) - {VERSION_TABLE}


def assert_models_equal_tables(url: str) -> None:
    """What `alembic check` would say of the database."""
    with connected(url) as connection:
        context = MigrationContext.configure(connection, opts=migrations.CONTEXT_OPTIONS)
        assert compare_metadata(context, Base.metadata) == []


@contextmanager
def cut_off_at(statement: str) -> Iterator[None]:
    """Let the process "die" just before a statement that begins so."""

    def die(_connection: object, _cursor: object, sql: str, *_rest: object) -> None:
        if " ".join(sql.split()).startswith(statement):
            raise KeyboardInterrupt(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", die)
    try:
        with pytest.raises(KeyboardInterrupt):
            yield
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", die)
