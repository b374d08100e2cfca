"""Tell when each of the messages of `benchmarks.send` was committed: `python -m benchmarks.watch`.

Committed is what another connection sees. This one asks again and again for reports of devices behind the last one that
it has seen, a range of the primary key, and notes when the answer was there. That is never too early, and too late by
less than the time since the query before it was sent: the resolution, which is reported, too.

MariaDB shows a commit to others while it is still being synced to the disk: its figures lack the last of that wait.
Commit timestamps (`pg_xact_commit_timestamp`) would not do: PostgreSQL takes them before it syncs its log to the disk,
which is most of what a commit takes, and the other databases have none.

Prints a line when it watches, and one with all that it has seen.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlsplit

from benchmarks.messages import device_id

_QUERY = "SELECT raspberry_id, reported_at FROM device_history WHERE raspberry_id > {} ORDER BY raspberry_id LIMIT 1000"

#: Asks for the rows behind a device: its id, and when the message was published.
Ask = Callable[[str], Sequence[tuple[str, Any]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database-url", required=True, help="as rpi-health takes it")
    parser.add_argument("--messages", type=int, required=True, help="stop when so many are seen")
    parser.add_argument("--pause-ms", type=float, required=True, help="between two queries")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds without anything new")
    args = parser.parse_args()
    ask = connect(args.database_url)
    ask("")
    print("watching", flush=True)
    print(json.dumps(watch(ask, args.messages, args.pause_ms / 1000, args.timeout)), flush=True)


def watch(ask: Ask, messages: int, pause_s: float, timeout_s: float) -> dict[str, list[float]]:
    """Ask until so many messages are seen. Returns the latency of each, and the resolution of each answer with news.

    Exits with an error when there is nothing new for `timeout_s`, or a message was skipped.
    """
    latencies_ms: list[float] = []
    resolutions_ms: list[float] = []
    last, asked_at = "", time.time()
    news_at = asked_at
    while len(latencies_ms) < messages:
        time.sleep(pause_s)
        before, asked_at = asked_at, time.time()
        rows = ask(last)
        now = time.time()
        if not rows:
            if now - news_at > timeout_s:
                sys.exit(f"nothing new for {timeout_s:g} s after {len(latencies_ms)} of {messages} messages")
            continue
        news_at = now
        resolutions_ms.append((now - before) * 1000)
        for device, published_at in rows:
            if device != device_id(len(latencies_ms)):
                sys.exit(f"{device} was committed before {device_id(len(latencies_ms))}")
            latencies_ms.append((now - _seconds(published_at)) * 1000)
        last = rows[-1][0]
    return {"latencies_ms": latencies_ms, "resolutions_ms": resolutions_ms}


def connect(url: str) -> Ask:
    """A way to ask, over a connection that stays open; each query sees what is committed when it begins."""
    parts = urlsplit(url)
    name = parts.path[1:]
    if parts.scheme == "sqlite":
        file = sqlite3.connect(name, timeout=60, isolation_level=None)
        return lambda last: file.execute(_QUERY.format("?"), (last,)).fetchall()
    if parts.scheme == "postgresql":
        import psycopg

        session = psycopg.connect(url, autocommit=True)
        return lambda last: session.execute(_QUERY.format("%s"), (last,), prepare=True).fetchall()
    import pymysql

    cursor = pymysql.connect(
        host=parts.hostname or "", port=parts.port or 0, user=parts.username, database=name, autocommit=True
    ).cursor()

    def ask(last: str) -> Sequence[tuple[str, Any]]:
        cursor.execute(_QUERY.format("%s"), (last,))
        return cursor.fetchall()

    return ask


def _seconds(instant: datetime | str) -> float:
    moment = datetime.fromisoformat(instant) if isinstance(instant, str) else instant
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


if __name__ == "__main__":
    main()
