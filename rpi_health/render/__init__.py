"""What people see: facts of the fleet in rich. No SQL. All text passes `clean`; none is ever markup."""

from rpi_health.render.history import buckets, chart, readings
from rpi_health.render.settings import settings
from rpi_health.render.show import device
from rpi_health.render.status import fleet, summary

__all__ = ["buckets", "chart", "device", "fleet", "readings", "settings", "summary"]
