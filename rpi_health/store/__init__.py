"""All of the SQL writing: a batch of reports becomes rows, in one transaction."""

from rpi_health.store.examination import Examination
from rpi_health.store.retention import Retention
from rpi_health.store.store import Refused, Store
from rpi_health.store.upkeep import Upkeep

__all__ = ["Examination", "Refused", "Retention", "Store", "Upkeep"]
