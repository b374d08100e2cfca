"""What the yardsticks have in common: their options, and the two lines that they print."""

from __future__ import annotations

import argparse
import json
import time
from datetime import datetime, timezone


def options(description: str | None, messages: int, database_url: str | None = None) -> argparse.ArgumentParser:
    """The options of every yardstick; with the form of a database URL, that one too."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--amqp-url", default="amqp://athavus:1234@localhost:5672/%2F")
    parser.add_argument("--queue", default="rasp_data", help="filled already")
    parser.add_argument("--messages", type=int, default=messages, help="stop after so many")
    if database_url is not None:
        parser.add_argument("--database-url", required=True, help=database_url)
    return parser


class Clock:
    """Counts messages, and says what they took: from the first one on, without any of the start."""

    def __init__(self, who: str, messages: int) -> None:
        self._who = who
        self._messages = messages
        self._started_s = self._started_cpu_s = 0.0
        self.seen = 0

    def first(self) -> None:
        """Say that the first message is there. Further calls do nothing."""
        if not self._started_s:
            self._started_s, self._started_cpu_s = time.perf_counter(), time.process_time()
            self._say("consuming")

    def count(self) -> bool:
        """Count a message that is done; say so when it was the last one. Returns whether it was."""
        self.seen += 1
        if self.seen < self._messages:
            return False
        seconds, cpu_s = time.perf_counter() - self._started_s, time.process_time() - self._started_cpu_s
        self._say(
            "stopped",
            messages=self.seen,
            messages_per_second=round(self.seen / seconds, 1),
            cpu_us_per_message=round(cpu_s / self.seen * 1e6, 1),
        )
        return True

    def _say(self, event: str, **figures: float) -> None:
        now = datetime.now(timezone.utc).isoformat()
        print(json.dumps({"time": now, "event": event, "who": self._who, **figures}), flush=True)
