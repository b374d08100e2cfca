"""What a fault acts on: the servers, the ways to them, and the consumers, which are started again when they end."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass

import sqlalchemy as sa

from rpi_health.failpoints import CRASHED, POINTS
from tests.consuming import Consuming
from tests.proxy import Mode, Proxy
from tests.schema import connected
from tests.trial import Trial
from tools.servers import MariaDB, PostgreSQL, RabbitMQ

CONSUMERS = 3
HEARTBEAT_S = 2
#: Ends that are no surprise: stopped, killed, crashed at a failpoint.
EXPECTED = {0, -9, CRASHED}


class Consumers:
    """Three consumers, and how each of those ended that were started before."""

    def __init__(self, trial: Trial, settings: dict[str, str], dice: random.Random) -> None:
        self._trial = trial
        self._settings = settings
        self._dice = dice
        self.running = [self._start() for _ in range(CONSUMERS)]
        #: How often a consumer ended with which exit status.
        self.ends: Counter[int] = Counter()
        #: What those wrote whose end was a surprise.
        self.surprises: list[str] = []

    def any(self) -> Consuming:
        return self._dice.choice(self.running)

    def kill(self) -> Consuming:
        """SIGKILL to any of them. Returns it; it is not replaced yet."""
        consumer = self.any()
        consumer.process.kill()
        consumer.process.wait()
        return consumer

    def replace(self, consumer: Consuming, **settings: str) -> None:
        """Start another in place of one that is about to end."""
        self.running[self.running.index(consumer)] = self._start(**settings)
        self._count(consumer)

    def revive(self) -> None:
        """Start another in place of each that has ended, as a service manager would."""
        for consumer in [each for each in self.running if each.process.poll() is not None]:
            self.replace(consumer)

    def stop(self) -> list[dict[str, int]]:
        """Stop them in good order. Returns their counts."""
        self.revive()
        for consumer in self.running:
            consumer.wait_for("consuming", timeout_s=60)
        return [consumer.stop() for consumer in self.running]

    def _start(self, **settings: str) -> Consuming:
        return self._trial.consume(**{**self._settings, **settings})

    def _count(self, consumer: Consuming) -> None:
        status = consumer.process.wait(30)
        self.ends[status] += 1
        if status not in EXPECTED:
            self.surprises.append(f"exit status {status}\n{consumer.output[-3000:]}")


@dataclass
class Stage:
    """Everything that can fail."""

    trial: Trial
    dice: random.Random
    rabbitmq: RabbitMQ
    database: PostgreSQL | MariaDB | None  # None: an SQLite file
    broker_proxy: Proxy
    database_proxy: Proxy | None
    consumers: Consumers

    @property
    def server(self) -> PostgreSQL | MariaDB:
        """The database's server, for faults that only a server can have."""
        assert self.database is not None
        return self.database

    def proxy(self) -> Proxy:
        """One of the ways over which the consumers go."""
        return self.dice.choice([each for each in (self.broker_proxy, self.database_proxy) if each is not None])

    def last(self, least_s: float, most_s: float) -> None:
        """How long a fault lasts."""
        time.sleep(self.dice.uniform(least_s, most_s))

    def misbehave(self, proxy: Proxy, mode: Mode, least_s: float, most_s: float) -> None:
        """Let a way be bad for a while. What it forgot is not made good: its connections end."""
        proxy.mode = mode
        self.last(least_s, most_s)
        proxy.mode = Mode.PASS
        if mode is not Mode.STALL:
            proxy.reset()

    def random_failpoint(self) -> str:
        return f"{self.dice.choice(POINTS)}=crash:{self.dice.uniform(0, 0.2):.2f}@{self.dice.randint(1, 3)}"

    def execute(self, *statements: str) -> None:
        """Execute SQL, not over the proxy."""
        with connected(self.trial.url) as connection:
            for statement in statements:
                connection.execute(sa.text(statement))
