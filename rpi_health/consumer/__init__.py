"""The consumer: takes deliveries, has them stored, and settles them after the commit. No pika, no SQL.

Three threads, each with its own state: `loop` owns the broker's connection, `writer` owns the store, and `dead_letters`
publishes what is no health check. Deliveries go down from thread to thread; only settled tags come back. A fourth one,
`janitor`, has nothing to do with messages: it deletes old reports.
"""

from rpi_health.consumer.limits import Limits
from rpi_health.consumer.loop import Consumer
from rpi_health.consumer.tally import Tally

__all__ = ["Consumer", "Limits", "Tally"]
