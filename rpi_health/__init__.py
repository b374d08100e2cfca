"""rpi-health: the health checks of a fleet of Raspberry Pis, from RabbitMQ into a database.

from rpi_health import start_consumer_thread, shared

handle = start_consumer_thread()
shared.received_messages        # the last payloads
handle.stop()
"""

from rpi_health import shared
from rpi_health.embed import ConsumerHandle, rabbit_consumer, start_consumer_thread
from rpi_health.version import __version__

__all__ = ["ConsumerHandle", "__version__", "rabbit_consumer", "shared", "start_consumer_thread"]
