"""Who consumes, and when the fleet was being heard: rows that a running consumer keeps. Two rows a beat."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from rpi_health.models import ConsumerHearing, ConsumerStatus
from rpi_health.presence import GONE_AFTER_S, Beat, Identity

_STATUS: sa.Table = ConsumerStatus.__table__  # type: ignore[assignment]
_HEARING: sa.Table = ConsumerHearing.__table__  # type: ignore[assignment]
#: What ended without a word is shown for so long.
_KEPT = timedelta(days=1)


def renew(connection: sa.Connection, identity: Identity, beat: Beat) -> None:
    """Say that this consumer is there, and how it is; and that the fleet is being heard, if so it is."""
    values = {
        "connected": beat.connected,
        "backlog": beat.backlog,
        "rate": beat.rate,
        "last_commit_at": beat.last_commit_at,
        "updated_at": beat.at,
    }
    own = sa.update(_STATUS).where(_STATUS.c.token == identity.token).values(values)
    if not connection.execute(own).rowcount:
        connection.execute(sa.insert(_STATUS).values({**identity._asdict(), **values}))
        _delete_gone(connection, beat)
    if beat.listening:
        _hear(connection, beat)


def remove(connection: sa.Connection, identity: Identity) -> None:
    """Say that it has stopped."""
    connection.execute(sa.delete(_STATUS).where(_STATUS.c.token == identity.token))


def _hear(connection: sa.Connection, beat: Beat) -> None:
    """Lengthen the newest span up to now, whichever consumer began it; after a gap, begin another."""
    start, end = _HEARING.c.heard_from, _HEARING.c.heard_until
    newest = connection.execute(sa.select(start, end).order_by(start.desc()).limit(1)).one_or_none()
    if newest is None or beat.at - newest.heard_until > timedelta(seconds=GONE_AFTER_S):
        connection.execute(sa.insert(_HEARING).values(heard_from=beat.at, heard_until=beat.at))
        return
    longer: list[Any] = [start == newest.heard_from, end < beat.at]
    connection.execute(sa.update(_HEARING).where(*longer).values(heard_until=beat.at))


def _delete_gone(connection: sa.Connection, beat: Beat) -> None:
    # Found first, deleted by the key: a delete that looks at all rows would wait for those that others renew.
    gone = sa.select(_STATUS.c.token).where(_STATUS.c.updated_at < beat.at - _KEPT)
    for token in connection.scalars(gone).all():
        connection.execute(sa.delete(_STATUS).where(_STATUS.c.token == token))
