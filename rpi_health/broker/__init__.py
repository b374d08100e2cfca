"""All of pika: connections, the session that consumes, and publishing with confirms.

Vendor exceptions and objects end here: callers see `errors.BrokerError` and the nouns of `rpi_health.delivery`.
"""

from rpi_health.broker.broker import Broker
from rpi_health.broker.connection import Connection
from rpi_health.broker.dead_letter import again, as_it_was, as_outgoing
from rpi_health.broker.dead_queue import DeadQueue
from rpi_health.broker.examination import Examination
from rpi_health.broker.publisher import Outcome, Outgoing
from rpi_health.broker.session import Session

__all__ = [
    "Broker",
    "Connection",
    "DeadQueue",
    "Examination",
    "Outcome",
    "Outgoing",
    "Session",
    "again",
    "as_it_was",
    "as_outgoing",
]
