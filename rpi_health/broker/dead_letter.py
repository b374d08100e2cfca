"""What a dead letter looks like on the wire: the message verbatim, and headers that say why it is there."""

from __future__ import annotations

from rpi_health.broker.publisher import Outgoing
from rpi_health.delivery import Letter
from rpi_health.version import __version__


def as_outgoing(letter: Letter, queue: str) -> Outgoing:
    """The message to publish for a letter that came from this queue."""
    delivery = letter.delivery
    headers = {
        "x-rpi-health-reason": letter.reason,
        "x-rpi-health-detail": letter.detail,
        "x-rpi-health-queue": queue,
        "x-rpi-health-received-at": delivery.received_at.isoformat(timespec="milliseconds"),
        "x-rpi-health-redelivered": delivery.redelivered,
        "x-rpi-health-version": __version__,
    }
    return Outgoing(delivery.body, delivery.properties, headers)
