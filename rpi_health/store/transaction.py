"""A transaction that is begun again where it had to give way, as to another one in a deadlock."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa

from rpi_health import errors
from rpi_health.database_errors import translated

_TRIES = 3
_T = TypeVar("_T")


def in_transaction(engine: sa.Engine, work: Callable[[sa.Connection], _T]) -> _T:
    """Do it in a transaction of its own. Returns what it returns.

    Raises:
        DatabaseError: it was not done, or the commit went unanswered.
    """
    for _ in range(_TRIES - 1):
        with contextlib.suppress(errors.DatabaseUnavailable):
            return _once(engine, work)
    return _once(engine, work)


def _once(engine: sa.Engine, work: Callable[[sa.Connection], _T]) -> _T:
    with translated(engine.url), engine.begin() as connection:
        return work(connection)
