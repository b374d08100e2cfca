"""What a consumer tells about itself over HTTP: metrics for Prometheus, and its health. Needs `rpi-health[metrics]`."""

from rpi_health.monitor.collector import ConsumerCollector, Fleet, FleetCollector
from rpi_health.monitor.server import Server, Site
from rpi_health.monitor.watch import Watch

__all__ = ["ConsumerCollector", "Fleet", "FleetCollector", "Server", "Site", "Watch"]
