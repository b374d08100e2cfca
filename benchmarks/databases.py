"""The databases as a stage for one run: empty, durable, at rest; and what is in them afterwards.

Asked through the servers' own clients, so that no driver's memory or threads are in this process.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from tools.servers import MariaDB, PostgreSQL

_FLUSH_TIMEOUT_S = 120.0

#: What makes a commit outlast a power cut, and must be as the servers have it by default.
POSTGRESQL_IS_DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
MARIADB_IS_DURABLE = {"innodb_flush_log_at_trx_commit": "1", "innodb_doublewrite": "ON"}


class NotDurable(Exception):
    """A server does not keep what it has committed, or not as it would by default. The message says which setting."""


class Database(Protocol):
    """A database of its own for one run."""

    @property
    def url(self) -> str:
        """As rpi-health takes it."""
        ...

    @property
    def server_pid(self) -> int | None:
        """The root of the server's processes; None: there is no server."""
        ...

    def number(self, sql: str) -> int:
        """The one number that a query gives."""
        ...

    def execute(self, sql: str) -> None:
        """Execute statements, each in a transaction of its own."""
        ...

    def empty(self, table: str) -> None:
        """Take all rows out of a table, and leave no trace of them."""
        ...

    def settle(self) -> None:
        """Have the server write now what it would write later, at the cost of somebody else's run."""
        ...

    def deadlocks(self) -> int:
        """How many deadlocks the server has counted so far."""
        ...

    def drop(self) -> None:
        """Remove it, with all that is in it."""
        ...


class SQLite:
    """A file in a folder."""

    server_pid = None

    def __init__(self, file: Path) -> None:
        self._file = file

    @property
    def url(self) -> str:
        return f"sqlite:///{self._file}"

    def number(self, sql: str) -> int:
        with contextlib.closing(sqlite3.connect(self._file, timeout=60)) as connection:
            return int(connection.execute(sql).fetchone()[0])

    def empty(self, table: str) -> None:
        self.execute(f"DELETE FROM {table}")

    def execute(self, sql: str) -> None:
        with contextlib.closing(sqlite3.connect(self._file, timeout=60)) as connection:
            connection.executescript(sql)

    def settle(self) -> None:
        if self._file.exists():
            self.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def deadlocks(self) -> int:
        return 0  # there is one writer

    def drop(self) -> None:
        for file in self._file.parent.glob(f"{self._file.name}*"):
            file.unlink()


class PostgreSQLDatabase:
    """A database of a private server."""

    def __init__(self, server: PostgreSQL, name: str) -> None:
        self._server = server
        self._name = name
        self.url = server.create_database(name)

    @property
    def server_pid(self) -> int:
        return self._server.pid

    def number(self, sql: str) -> int:
        return int(self._server.psql(sql, self._name))

    def empty(self, table: str) -> None:
        self.execute(f"TRUNCATE TABLE {table}")

    def execute(self, sql: str) -> None:
        self._server.psql(sql, self._name)

    def settle(self) -> None:
        self._server.psql("CHECKPOINT")

    def columns(self, table: str) -> list[str]:
        """The names of a table's columns, in their order."""
        source = f"information_schema.columns WHERE table_schema = 'public' AND table_name = '{table}'"
        return self._server.psql(f"SELECT column_name FROM {source} ORDER BY ordinal_position", self._name).split()

    def deadlocks(self) -> int:
        # The sessions tell what they have counted when they end, at the latest.
        return self.number(f"SELECT deadlocks FROM pg_stat_database WHERE datname = '{self._name}'")

    def drop(self) -> None:
        self._server.drop_database(self._name)


class MariaDBDatabase:
    """A database of a private server."""

    def __init__(self, server: MariaDB, name: str) -> None:
        self._server = server
        self._name = name
        self.url = server.create_database(name)

    @property
    def server_pid(self) -> int:
        return self._server.pid

    def number(self, sql: str) -> int:
        return int(self._server.sql(sql, self._name))

    def empty(self, table: str) -> None:
        self.execute(f"TRUNCATE TABLE {table}")

    def execute(self, sql: str) -> None:
        self._server.sql(sql, self._name)

    def settle(self) -> None:
        before = self._variable("innodb_max_dirty_pages_pct")
        self._server.sql("SET GLOBAL innodb_max_dirty_pages_pct = 0")
        try:
            deadline = time.monotonic() + _FLUSH_TIMEOUT_S
            while self._status("Innodb_buffer_pool_pages_dirty") > 0 and time.monotonic() < deadline:
                time.sleep(0.1)
        finally:
            self._server.sql(f"SET GLOBAL innodb_max_dirty_pages_pct = {before}")

    def deadlocks(self) -> int:
        return self._status("Innodb_deadlocks")

    def drop(self) -> None:
        self._server.sql(f"DROP DATABASE `{self._name}`")

    def _status(self, name: str) -> int:
        return int(self._server.sql(f"SHOW GLOBAL STATUS LIKE '{name}'").split()[1])

    def _variable(self, name: str) -> str:
        return self._server.sql(f"SELECT @@GLOBAL.{name}").strip()


def durability_of_postgresql(server: PostgreSQL) -> dict[str, str]:
    """The settings that make it durable.

    Raises:
        NotDurable: one is not as it must be.
    """
    found = {name: server.psql(f"SHOW {name}").strip() for name in POSTGRESQL_IS_DURABLE}
    return _checked("PostgreSQL", found, POSTGRESQL_IS_DURABLE)


def durability_of_mariadb(server: MariaDB) -> dict[str, str]:
    """The settings that make it durable.

    Raises:
        NotDurable: one is not as it must be.
    """
    lines = (server.sql(f"SHOW GLOBAL VARIABLES LIKE '{name}'") for name in MARIADB_IS_DURABLE)
    found = {name: value for name, _, value in (line.strip().partition("\t") for line in lines)}
    return _checked("MariaDB", found, MARIADB_IS_DURABLE)


def _checked(server: str, found: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    for name, value in wanted.items():
        if found.get(name, "").lower() != value.lower():
            raise NotDurable(f"{server} has {name} = {found.get(name)}, and must have {value}")
    return dict(found)
