"""The events that are logged: one catalogue of names, sentences and meanings, and the one way to log them.

Whoever reads the log relies on the names; the tables of the documentation are made from here. Knows no format: that is
the business of `logs`, or of the program that embeds rpi-health.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass

from rpi_health.rate_limit import RateLimiter

_INFO, _WARNING, _ERROR = logging.INFO, logging.WARNING, logging.ERROR


@dataclass(frozen=True)
class Event:
    """Something that is logged.

    Args:
        name: its `event` in a log line; never changes.
        level: of `logging`.
        sentence: constant; what varies is in the fields.
        meaning: when it is logged, and what it asks for.
        per: the field by whose values the rate is limited, each for itself; of errors, numbers in them do not count.
            Empty: all lines of it together.
        is_limited: whether its rate is limited at all.
        has_traceback: whether the traceback of the exception at hand goes with it.
    """

    name: str
    level: int
    sentence: str
    meaning: str
    per: str = ""
    is_limited: bool = True
    has_traceback: bool = False


CONSUMING = Event("consuming", _INFO, "Consuming.", "A session with the broker has begun; messages are taken.")
SUMMARY = Event(
    "summary",
    _INFO,
    "Summary.",
    "Once a minute in which messages came or were held: what was done since the line before.",
    is_limited=False,
)
STOPPING = Event("stopping", _INFO, "Stopping.", "A signal asked for it. What is in hand is written and acknowledged.")
STOPPED = Event("stopped", _INFO, "Stopped.", "The consumer has ended; the fields count what it has done.")
RETRY = Event(
    "retry",
    _WARNING,
    "Broker or database cannot be used, trying again.",
    "Nothing is consumed until that succeeds. `error` says what to do if it does not by itself.",
    per="error",
)
DATABASE_HELD = Event(
    "database_held",
    _ERROR,
    "Cannot store, the messages are held.",
    "They stay unacknowledged until the database takes writes again. `error` says what is wrong with it.",
    per="error",
)
DATABASE_BACK = Event("database_back", _WARNING, "The database takes writes again.", "What was held is stored.")
PARKED = Event(
    "parked",
    _WARNING,
    "Parked: the messages wait at the broker.",
    "The database was away for longer than `park_after`. Consuming goes on by itself once it is back.",
)
DEAD_LETTERED = Event(
    "dead_lettered",
    _WARNING,
    "Dead-lettered a message.",
    "It was no health check, and is in the dead-letter queue: `rpi-health dead list`.",
    per="reason",
)
DEAD_LETTERS_HELD = Event(
    "dead_letters_held",
    _ERROR,
    "Cannot publish dead letters, the messages stay in their queue.",
    "It is tried again and again; health checks are stored meanwhile. `error` says what is wrong.",
    per="error",
)
DECODER_FAILED = Event(
    "decoder_failed",
    _ERROR,
    "A message could not be read: this is a defect.",
    "It is dead-lettered as `poison`. Please report it, with the traceback and the message.",
    per="error",
    has_traceback=True,
)
PRUNED = Event("pruned", _INFO, "Deleted old reports.", "`reports` were older than `retention`.")
PRUNE_FAILED = Event(
    "prune_failed",
    _WARNING,
    "Cannot delete old reports.",
    "It is tried again within minutes. With `device`: only the reports of that one are left out.",
    per="error",
)
PRUNE_DEFECT = Event(
    "prune_defect",
    _ERROR,
    "Old reports cannot be deleted: this is a defect.",
    "Messages are stored all the same. Please report it, with the traceback.",
    per="error",
    has_traceback=True,
)
PRESENCE_FAILED = Event(
    "presence_failed",
    _WARNING,
    "Cannot say that this consumer runs.",
    "`status` may take it for gone until that succeeds.",
    per="error",
)
SERVING = Event("serving", _INFO, "Serving metrics and health.", "`address` is where: see `metrics_addr`.")
FLEET_UNKNOWN = Event(
    "fleet_unknown",
    _WARNING,
    "Cannot tell how the fleet is.",
    "Its metrics are NaN until the database can be read. `error` says what is wrong.",
    per="error",
)
CONSUMER_FAILED = Event(
    "consumer_failed",
    _ERROR,
    "The consumer has ended.",
    "Inside a Python program: it ended by an error, and does not start again by itself.",
    has_traceback=True,
)
FAST_LANE_OFF = Event(
    "fast_lane_off",
    _WARNING,
    "This pika is not one that the fast lane knows. Messages are received without it.",
    "Everything works, at a third of the speed. A newer rpi-health may know it.",
)
MANY_DELIVERIES = Event(
    "many_deliveries",
    _WARNING,
    "Each look at a quorum queue counts as a delivery: see that its policy has no delivery limit.",
    "`rpi-health dead` was run on such a queue many times.",
)
UNKNOWN_VARIABLE = Event(
    "unknown_variable",
    _WARNING,
    "Unknown environment variable ignored.",
    "It looks like a setting and is none; perhaps misspelt.",
    per="variable",
)
DEFAULT_CREDENTIALS = Event(
    "default_credentials",
    _WARNING,
    "Default credentials used on a broker that is not local, choose a password of your own.",
    "Everyone knows them.",
    per="host",
)
TLS_INSECURE = Event(
    "tls_insecure",
    _WARNING,
    "The broker's certificate is not checked: leave out tls_insecure, and give its CA in amqp_ca_file.",
    "Anybody on the way may read and change what is sent.",
    per="host",
)
FAILPOINT = Event("failpoint", _WARNING, "Failpoint.", "A fault that a test asked for; never otherwise.")

#: All of them, in the order in which the documentation has them.
EVENTS = tuple(each for each in list(globals().values()) if isinstance(each, Event))

_NUMBER = re.compile(r"\d+")


class Log:
    """Logs events, and keeps a flood of equal ones from flooding the log: see `RateLimiter`.

    Each has its own allowance, so whoever lives for as long as a consumer does makes one of its own.

    Args:
        name: of the logger.
    """

    def __init__(self, name: str, limiter: RateLimiter | None = None) -> None:
        self._logger = logging.getLogger(name)
        self._limiter = limiter or RateLimiter()

    def say(self, event: Event, **fields: object) -> None:
        """Log an event, unless there were too many of its kind; then the next line says how many were suppressed.

        Where the level is debug, none are.

        Args:
            fields: what varies. An exception becomes its message.
        """
        if not self._logger.isEnabledFor(event.level):
            return
        plain = {name: str(value) if isinstance(value, Exception) else value for name, value in fields.items()}
        is_limited = event.is_limited and not self._logger.isEnabledFor(logging.DEBUG)
        suppressed = self._limiter.allow(f"{event.name} {_kind(event, plain)}") if is_limited else 0
        if suppressed is None:
            return
        extra = {"event": event.name, **plain, **({"suppressed": suppressed} if suppressed else {})}
        self._logger.log(event.level, event.sentence, extra=extra, exc_info=event.has_traceback, stacklevel=2)


def _kind(event: Event, fields: Mapping[str, object]) -> str:
    value = str(fields.get(event.per, ""))
    # One error may name another process, transaction or time with each retry.
    return _NUMBER.sub("0", value) if event.per == "error" else value
