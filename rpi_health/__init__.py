"""rpi-health: the health checks of a fleet of Raspberry Pis, from RabbitMQ into a database."""

__version__ = "0.1.0"
