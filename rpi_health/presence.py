"""A running consumer as others see it. Nouns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

#: How often a consumer is to be seen, and after what time without that it counts as gone. In seconds.
BEAT_S = 5.0
GONE_AFTER_S = 15.0


class Identity(NamedTuple):
    """Which consumer it is.

    Args:
        token: 8 bytes that no other one has.
        queue: what it consumes.
        started_at: aware.
    """

    token: bytes
    host: str
    pid: int
    version: str
    queue: str
    started_at: datetime


class Beat(NamedTuple):
    """How it is at a moment.

    Args:
        at: when; aware, UTC.
        connected: whether it has a session with the broker.
        listening: whether what the fleet sends now is what it receives now: it is connected and drains no backlog.
        backlog: how many messages wait at the broker; None while that is not known.
        rate: reports stored a second, since the beat before.
        last_commit_at: when it last stored something; aware. None: never yet.
    """

    at: datetime
    connected: bool
    listening: bool
    backlog: int | None
    rate: float
    last_commit_at: datetime | None


class Sighting(NamedTuple):
    """A consumer when it was last seen: what `Identity` and `Beat` say, as it is kept."""

    host: str
    pid: int
    version: str
    queue: str
    connected: bool
    backlog: int | None
    rate: float
    last_commit_at: datetime | None
    started_at: datetime
    updated_at: datetime

    def is_gone(self, now: datetime) -> bool:
        """Whether it was not seen for so long that it must have ended without a word, or cannot reach the database."""
        return now - self.updated_at > timedelta(seconds=GONE_AFTER_S)


class Overview(NamedTuple):
    """The fleet in figures, and who hears it.

    Args:
        counts: how many devices there are, by state, all of `hearing.STATES`.
        hot, warm: how many are as hot as `device.HOT_CELSIUS`, and how many are only warm.
        last_report: when any device was last heard of; None where none ever was.
        consumers: those that were seen, the newest first; those that are gone may be among them.
        heard_until: when the fleet was being heard last, which is what states are as of; None where nobody ever did.
    """

    counts: Mapping[str, int]
    hot: int
    warm: int
    last_report: datetime | None
    consumers: Sequence[Sighting]
    heard_until: datetime | None

    def running(self, now: datetime) -> list[Sighting]:
        """The consumers that are not gone."""
        return [consumer for consumer in self.consumers if not consumer.is_gone(now)]

    def is_heard(self, now: datetime) -> bool:
        """Whether it is being heard now."""
        is_recent = self.heard_until is not None and now - self.heard_until <= timedelta(seconds=GONE_AFTER_S)
        return is_recent and any(consumer.connected for consumer in self.running(now))
