"""What consumers do once between them all: delete what is older than the retention, a round a day."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from datetime import datetime, timedelta, timezone

import sqlalchemy as sa

from rpi_health import errors, events
from rpi_health.models import ConsumerUpkeep
from rpi_health.store.retention import Retention
from rpi_health.store.transaction import in_transaction

_UPKEEP: sa.Table = ConsumerUpkeep.__table__  # type: ignore[assignment]
_ROW = _UPKEEP.c.task == "retention"

EVERY = timedelta(days=1)
#: A consumer that ended without a word is waited for so long: much longer than a step takes.
LEASE = timedelta(minutes=10)
_RENEW_AFTER = timedelta(minutes=1)


def _database_time(connection: sa.Connection) -> datetime:
    """One clock for all consumers: one that is wrong must not have their reports deleted."""
    now: datetime = connection.execute(sa.select(sa.func.now())).scalar_one()
    return now.astimezone(timezone.utc) if now.tzinfo else now.replace(tzinfo=timezone.utc)


class Upkeep:
    """The part of one consumer. Used by one thread.

    Args:
        engine: as `database.create_engine(url, writer=True)` makes it, for this alone.
        owner: 8 bytes that no other consumer has.
        keep: how old a report may become.
        clock: what time it is, as the database has it; aware, UTC.
    """

    def __init__(
        self,
        engine: sa.Engine,
        owner: bytes,
        keep: timedelta,
        clock: Callable[[sa.Connection], datetime] = _database_time,
    ) -> None:
        self._engine = engine
        self._owner = owner
        self._keep = keep
        self._clock = clock
        self._log = events.Log(__name__)

    def round(self) -> Generator[int, None, None]:
        """Go through all devices, if that is due and nobody else is at it. One that was left is gone on with.

        Yields: after each transaction, how many reports it deleted.

        Raises:
            DatabaseError: what was done is done; the next round goes on from there.
        """
        began_at = renewed_at = in_transaction(self._engine, self._clock)
        position = in_transaction(self._engine, lambda connection: self._take(connection, began_at))
        if position is None:
            return
        try:
            for position, deleted in self._steps(began_at, position):  # noqa: B020 - it goes on from there
                yield deleted
                now = in_transaction(self._engine, self._clock)
                if now - renewed_at >= _RENEW_AFTER:
                    if not self._write({"leased_until": now + LEASE, "position": position}):
                        return  # it took too long, and another one has taken over
                    renewed_at = now
            position = None
        finally:
            with contextlib.suppress(errors.DatabaseError):  # the lease runs out by itself
                self._write({"owner": None, "leased_until": None, "position": position})

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def _take(self, connection: sa.Connection, now: datetime) -> str | None:
        """Begin a round or go on with one. Returns the device after which; None: there is nothing to do."""
        row = connection.execute(sa.select(_UPKEEP).where(_ROW).with_for_update()).one_or_none()
        # What lies in the future is the doing of a clock that was wrong.
        if row is None or (row.owner not in (None, self._owner) and now < row.leased_until <= now + LEASE):
            return None
        is_over = row.position is None
        if is_over and row.began_at is not None and row.began_at <= now < row.began_at + EVERY:
            return None
        values = {"owner": self._owner, "leased_until": now + LEASE, "position": row.position or ""}
        connection.execute(sa.update(_UPKEEP).where(_ROW).values(began_at=now if is_over else row.began_at, **values))
        return row.position or ""

    def _steps(self, now: datetime, position: str) -> Iterator[tuple[str, int]]:
        """Yields: the last device that is done with, and how many reports the last transaction deleted."""
        retention = Retention(self._engine, now)
        before = (now - self._keep).replace(minute=0, second=0, microsecond=0)  # whole hours become figures
        while (page := retention.page(before, position)).last is not None:
            yield position, 0
            for device in page.due:
                try:
                    for deleted in retention.prune(device, before):
                        yield position, deleted
                except errors.DataRefused as error:  # others are not concerned
                    self._log.say(events.PRUNE_FAILED, error=error, device=device)
                position = device
            position = page.last

    def _write(self, values: dict[str, object]) -> bool:
        """Change the row. Returns whether it is still ours."""
        own = sa.update(_UPKEEP).where(_ROW, _UPKEEP.c.owner == self._owner).values(values)
        return in_transaction(self._engine, lambda connection: connection.execute(own)).rowcount > 0
