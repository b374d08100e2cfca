"""What the consumer is to do, as numbers."""

from __future__ import annotations

from typing import NamedTuple


class Limits(NamedTuple):
    """What the consumer is to do, and how long it may take over it.

    Args:
        queue: what to consume.
        batch_size: at most so many messages in one transaction.
        prefetch: at most so many messages unsettled.
        until_empty: stop when the queue is empty and all is settled.
        max_messages: stop when so many messages are settled.
        startup_timeout_s: give up when broker or database cannot be used so long after the start; None: never.
        drain_timeout_s: how long finishing what is in hand may take after `stop`.
        reconnect_limit_s: the longest delay between two connection attempts.
        database_retry_limit_s: the longest delay between two tries to store a batch.
        park_after_s: hand messages back to the broker when the database is away for so long.
        count_stale: count the reports that come late, which takes a query for each batch.
    """

    queue: str
    batch_size: int = 500
    prefetch: int = 1000
    until_empty: bool = False
    max_messages: int | None = None
    startup_timeout_s: float | None = 5.0
    drain_timeout_s: float = 10.0
    reconnect_limit_s: float = 30.0
    database_retry_limit_s: float = 5.0
    park_after_s: float = 300.0
    count_stale: bool = False
