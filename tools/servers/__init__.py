"""Private server processes on free ports and in temporary folders, for the demo, the tests and the benchmarks.

Knows the standard library and nothing of rpi_health: it must run under the system's python3, before there is a virtual
environment. Linux only (it reads ``/proc``).
"""

from tools.servers.certificates import Certificates
from tools.servers.cluster import RabbitMQCluster
from tools.servers.mariadb import MariaDB
from tools.servers.postgresql import PostgreSQL
from tools.servers.process import ServerError, ServerMissing
from tools.servers.rabbitmq import RabbitMQ

__all__ = ["Certificates", "MariaDB", "PostgreSQL", "RabbitMQ", "RabbitMQCluster", "ServerError", "ServerMissing"]
