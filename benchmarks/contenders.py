"""Who consumes the queue: rpi-health as users start it, and the yardsticks beside it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.databases import Database
from benchmarks.program import ROOT, Program
from benchmarks.stage import QUEUE, Stage, WrongOutcome, check_rows

TIMEOUT_S = 900.0
#: The URL of a database with the driver that a yardstick uses.
_DRIVERS = {"seed": "postgresql+psycopg", "faststream": "postgresql+asyncpg"}


@dataclass(frozen=True)
class Contender:
    """A program that consumes a queue.

    Args:
        name: `PROGRAM-DATABASE`, or only the program's.
        title: for people.
        program: `noop`, `seed`, `faststream` or `rpi-health`.
        database: one of `stage.KINDS`; None: it stores nothing.
        share: how much of the messages it gets; the slow ones less, of fewer devices to the same extent.
    """

    name: str
    title: str
    program: str
    database: str | None = None
    share: float = 1.0

    @property
    def is_yardstick(self) -> bool:
        return self.program != "rpi-health"


CONTENDERS = (
    Contender("noop", "pika, no-op", "noop"),
    Contender("seed-postgresql", "seed, PostgreSQL", "seed", "postgresql", 1 / 30),
    Contender("seed-sqlite", "seed, SQLite", "seed", "sqlite", 1 / 30),
    Contender("faststream-postgresql", "FastStream, PostgreSQL", "faststream", "postgresql", 1 / 12),
    Contender("rpi-health-sqlite", "rpi-health, SQLite", "rpi-health", "sqlite"),
    Contender("rpi-health-postgresql", "rpi-health, PostgreSQL", "rpi-health", "postgresql"),
    Contender("rpi-health-mariadb", "rpi-health, MariaDB", "rpi-health", "mariadb"),
)


@dataclass(frozen=True)
class Sample:
    """What one run took, between `consuming` and `stopped`.

    Args:
        peak_memory_mib: the most that was resident of the program.
        client_cpu_us: CPU microseconds a message of the program.
        broker_cpu_us, database_cpu_us: of the servers' processes. SQLite has none; its work is the program's.
        lag_ms: how late its start was noticed; so much of the CPU may be missing in the figures.
    """

    messages: int
    seconds: float
    messages_per_second: float
    client_cpu_us: float
    broker_cpu_us: float
    database_cpu_us: float
    peak_memory_mib: float
    lag_ms: float


def play(stage: Stage, contender: Contender, messages: int, devices: int) -> Sample:
    """One run on a queue filled anew, with an empty database, that checks what became of the messages.

    Raises:
        WrongOutcome: messages are left, lost or stored otherwise.
        ProgramFailed: the program did not end well.
    """
    messages = max(1, round(messages * contender.share))
    devices = max(1, min(messages, round(devices * contender.share)))
    with _database(stage, contender) as database:
        stage.fill(messages, devices, "--anew")
        stage.settle(database)
        with _start(stage, contender, database, messages) as program:
            program.wait_until_consuming()
            before = stage.server_cpu(database)
            usage = program.wait()
            servers = stage.server_cpu(database).since(before)
        stage.check_queue_is_empty()
        if database is not None:
            check_rows(database, "device_status", devices)
            if contender.program == "rpi-health":
                check_rows(database, "device_history", messages)
                check_counts(usage.counts, messages)
    return Sample(
        messages,
        usage.seconds,
        messages / usage.seconds,
        usage.cpu_s / messages * 1e6,
        servers.broker_s / messages * 1e6,
        servers.database_s / messages * 1e6,
        usage.peak_memory_mib,
        usage.lag_s * 1000,
    )


def check_counts(counts: object, messages: int) -> None:
    """Check that rpi-health counted what it was sent, each once.

    Raises:
        WrongOutcome: it did not.
    """
    assert isinstance(counts, dict)
    if (counts["stored"], counts["dead_lettered"], counts["redelivered"]) != (messages, 0, 0):
        raise WrongOutcome(f"rpi-health counted other than {messages} messages, each once: {counts}")


@contextlib.contextmanager
def _database(stage: Stage, contender: Contender) -> Iterator[Database | None]:
    if contender.database is None:
        yield None
        return
    with stage.database(contender.database, with_tables=not contender.is_yardstick) as database:
        yield database


def _start(stage: Stage, contender: Contender, database: Database | None, messages: int) -> Program:
    if not contender.is_yardstick:
        assert database is not None
        return stage.consume("--until-empty", database=database, timeout_s=TIMEOUT_S)
    modules = {"noop": "noop", "seed": "seed_consumer", "faststream": "faststream_peer"}
    command = [sys.executable, "-m", f"benchmarks.yardsticks.{modules[contender.program]}"]
    command += ["--amqp-url", stage.rabbitmq.url, "--queue", QUEUE, "--messages", str(messages)]
    if database is not None:
        scheme, rest = database.url.split("://", 1)
        driver = _DRIVERS[contender.program] if scheme == "postgresql" else scheme
        command += ["--database-url", f"{driver}://{rest}"]
    return Program(command, stage.env(), ROOT, TIMEOUT_S)
