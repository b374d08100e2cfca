"""The stage on which every contender plays: private servers, a queue that is full, a database that is empty."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from benchmarks.databases import (
    Database,
    MariaDBDatabase,
    PostgreSQLDatabase,
    SQLite,
    durability_of_mariadb,
    durability_of_postgresql,
)
from benchmarks.proc import cpu_of_tree_s
from benchmarks.program import ROOT, Program, run
from tools.servers import MariaDB, PostgreSQL, RabbitMQ
from tools.servers.process import wait_until

QUEUE = "rasp_data"
KINDS = ("sqlite", "postgresql", "mariadb")
COMMAND = Path(sys.executable).with_name("rpi-health")

_QUIET_CPU = 0.1  # of one core
_QUIET_FOR_S = 0.3
_QUIET_TIMEOUT_S = 30.0


class WrongOutcome(Exception):
    """A contender lost messages or stored others than it was sent: its speed means nothing."""


class ServerCpu(NamedTuple):
    """CPU seconds that the processes of the servers have used."""

    broker_s: float
    database_s: float

    def since(self, before: ServerCpu) -> ServerCpu:
        return ServerCpu(self.broker_s - before.broker_s, self.database_s - before.database_s)


class Stage:
    """Servers on 127.0.0.1 in temporary folders, started when they are first needed. A context manager."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._numbers = itertools.count(1)
        self._postgresql: PostgreSQL | None = None
        self._mariadb: MariaDB | None = None
        #: The settings that make each server durable, as it told them.
        self.durability: dict[str, dict[str, str]] = {"sqlite": {"synchronous": "full, in each connection"}}

    def __enter__(self) -> Stage:
        with self._stack:  # leave nothing when the broker does not start
            prefix = "rpi-health-bench-"
            self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix=prefix)))
            self.rabbitmq = self._stack.enter_context(RabbitMQ())
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def postgresql(self) -> PostgreSQL:
        if self._postgresql is None:
            self._postgresql = self._stack.enter_context(PostgreSQL())
            self.durability["postgresql"] = durability_of_postgresql(self._postgresql)
        return self._postgresql

    @property
    def mariadb(self) -> MariaDB:
        if self._mariadb is None:
            self._mariadb = self._stack.enter_context(MariaDB())
            self.durability["mariadb"] = durability_of_mariadb(self._mariadb)
        return self._mariadb

    @contextlib.contextmanager
    def database(self, kind: str, *, with_tables: bool = True) -> Iterator[Database]:
        """An empty database of one of the `KINDS`, with rpi-health's tables or none; dropped afterwards."""
        database = self._new_database(kind)
        try:
            if with_tables:
                self.run_command("init-db", database=database)
            yield database
        finally:
            database.drop()

    def _new_database(self, kind: str) -> Database:
        name = f"bench_{next(self._numbers)}"
        if kind == "postgresql":
            return PostgreSQLDatabase(self.postgresql, name)
        if kind == "mariadb":
            return MariaDBDatabase(self.mariadb, name)
        return SQLite(self.folder / f"{name}.db")

    def run_command(self, *args: str, database: Database) -> str:
        """Run the installed `rpi-health` to its end. Returns its standard output."""
        return run([COMMAND, *args], self.env(database), self.folder)

    def consume(self, *args: str, database: Database, timeout_s: float = 900.0) -> Program:
        """Start `rpi-health consume` as users do, with JSON lines for its log."""
        return Program([COMMAND, "consume", *args], self.env(database), self.folder, timeout_s)

    def env(self, database: Database | None = None) -> dict[str, str]:
        """What a program under measurement gets as its environment: none of the caller's settings."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RPI_HEALTH_", "XDG_"))}
        folders = {"HOME": str(self.folder), "XDG_CONFIG_DIRS": str(self.folder / "etc")}
        settings = {"RPI_HEALTH_AMQP_URL": self.rabbitmq.url, "RPI_HEALTH_LOG_FORMAT": "json"}
        if database is not None:
            settings["RPI_HEALTH_DATABASE_URL"] = database.url
        return {**inherited, **folders, **settings}

    def fill(self, messages: int, devices: int, *options: str) -> None:
        """Publish so many messages and return when the broker has confirmed them all.

        Args:
            options: more of `benchmarks.fill`.
        """
        command = [sys.executable, "-m", "benchmarks.fill", "--amqp-url", self.rabbitmq.url, "--queue", QUEUE]
        run([*command, "--messages", messages, "--devices", devices, *options], self.env(), ROOT)

    def empty_queue(self) -> None:
        """Make the queue anew, with nothing in it."""
        self.fill(0, 1, "--anew")

    def wait_until_consumed(self, timeout_s: float = 120.0) -> None:
        """Return when the queue is empty and all is acknowledged."""
        wait_until(lambda: self.rabbitmq.queue_counts(QUEUE) == (0, 0), timeout_s, "an empty queue")

    def settle(self, database: Database | None) -> None:
        """Return when the servers are at rest: what they still had to do for others is done."""
        if database is not None:
            database.settle()
        deadline = time.monotonic() + _QUIET_TIMEOUT_S
        before = sum(self.server_cpu(database))
        while time.monotonic() < deadline:
            time.sleep(_QUIET_FOR_S)
            now = sum(self.server_cpu(database))
            if now - before <= _QUIET_CPU * _QUIET_FOR_S:
                return
            before = now

    def server_cpu(self, database: Database | None) -> ServerCpu:
        """What broker and database have used so far."""
        server = None if database is None else database.server_pid
        return ServerCpu(cpu_of_tree_s(self.rabbitmq.pid), 0.0 if server is None else cpu_of_tree_s(server))

    def check_queue_is_empty(self) -> None:
        """Check that every message was consumed and acknowledged.

        Raises:
            WrongOutcome: some were not.
        """
        ready, unacknowledged = self.rabbitmq.queue_counts(QUEUE)
        if (ready, unacknowledged) != (0, 0):
            raise WrongOutcome(f"{ready} messages are left in the queue, and {unacknowledged} unacknowledged")


def check_rows(database: Database, table: str, expected: int) -> None:
    """Check that a table holds exactly so many rows.

    Raises:
        WrongOutcome: it does not.
    """
    found = database.number(f"SELECT count(*) FROM {table}")
    if found != expected:
        raise WrongOutcome(f"{table} has {found} rows rather than {expected}")
