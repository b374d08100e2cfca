"""Whole seconds since 1970 as SQL, which each database counts in a way of its own; and spans of time made of them."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def span_start(instant: Any, every_s: int) -> sa.ColumnElement[int]:
    """When the span of an instant begins, in whole seconds since 1970; spans begin at the multiples of `every_s`."""
    second = EpochSeconds(instant)
    return second - second % sa.literal_column(str(every_s))


class EpochSeconds(GenericFunction[int]):
    """Whole seconds from 1970 to an instant."""

    name = "epoch_seconds"
    type = sa.BigInteger()
    inherit_cache = True


@compiles(EpochSeconds, "postgresql")
def _on_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    return f"CAST(floor(extract(epoch FROM {compiler.process(element.clauses, **options)})) AS BIGINT)"


@compiles(EpochSeconds, "sqlite")
def _on_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    # To the second: of what is left, SQLite would round up.
    return f"CAST(strftime('%s', substr({compiler.process(element.clauses, **options)}, 1, 19)) AS INTEGER)"


@compiles(EpochSeconds, "mysql", "mariadb")
def _on_mysql(element: Any, compiler: Any, **options: Any) -> str:
    return f"TIMESTAMPDIFF(SECOND, '1970-01-01', {compiler.process(element.clauses, **options)})"
