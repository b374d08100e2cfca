"""The words for what can go wrong: one class for each thing that a caller can do differently.

Knows nothing of pika, SQLAlchemy or Click. Vendor errors are translated into these at the edge that meets them;
the command line turns each into its message and `exit_status`.
"""

from __future__ import annotations

#: Why a message is dead-lettered: the values of the header ``x-rpi-health-reason``, and what they say of the message.
REASONS = {
    "bad_encoding": "is not UTF-8, and not JSON even with the flaws replaced; or belies its byte order mark",
    "bad_content_encoding": "is broken gzip; or announces an unknown `content_encoding` and is not plain JSON either",
    "bad_json": "is not one JSON document: empty, cut off, with comments, with Python's quotes or `True`",
    "not_object": "is JSON, but not an object",
    "too_large": "has more than 256 KiB, or more than 1 MiB once unpacked",
    "too_deep": "nests more than 32 levels",
    "missing_device_id": "has no `id`, or one that is null or blank",
    "bad_device_id": "has an `id` of another type, too long, with invisible characters, or given twice with two values",
    "db_rejected": "was refused by the database for good, alone among its neighbours",
    "poison": "ended the consumer again and again while it was in hand, or met a defect in rpi-health",
}


class Rejection(ValueError):
    """A message that is no health check, or that the database refuses for good. It belongs in the dead-letter queue.

    Args:
        reason: one of `REASONS`.
        detail: what was wrong, at most 300 characters, safe to print.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class RpiHealthError(Exception):
    """The root of all errors that rpi-health raises to its callers. The message names the cure."""

    exit_status = 1


class UnknownDevice(RpiHealthError):
    """No device of this id has ever reported."""

    exit_status = 2


class ConfigurationError(RpiHealthError):
    """A setting is missing or wrong. The message names the setting, where it came from, and what would be right."""

    exit_status = 3


class BrokerError(RpiHealthError):
    """The broker could not be used."""

    exit_status = 4


class BrokerUnavailable(BrokerError):
    """The broker does not answer, or the connection was lost. Trying again later may help."""


class BrokerRefused(BrokerError):
    """The broker answers and says no (credentials, virtual host, permission): only a change helps."""


class DatabaseError(RpiHealthError):
    """The database could not be used."""

    exit_status = 5


class DatabaseUnavailable(DatabaseError):
    """The database is away, locked, full or read-only. The same write may succeed later."""


class DatabaseMisconfigured(DatabaseError):
    """Credentials, permissions, a missing driver or table. The data that was to be written is not at fault."""


class DataRefused(DatabaseError):
    """The database refuses this very data for good; other rows are not concerned."""


class SchemaNotCurrent(DatabaseError):
    """The schema is missing, older or newer than this version. The message names the command that mends it."""

    exit_status = 6
