"""One soak: set the stage, let faults happen on a seeded schedule, heal everything, and judge."""

from __future__ import annotations

import contextlib
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rpi_health.models import DeviceHistory
from tests.amqp import Amqp
from tests.command import Cli
from tests.oracle import Verdict
from tests.proxy import Proxy
from tests.reports import count_rows
from tests.soak.faults import Fault, faults_for
from tests.soak.stage import HEARTBEAT_S, Consumers, Stage
from tests.trial import RECOVERY_S, Trial
from tests.waiting import wait_until
from tools.servers import MariaDB, PostgreSQL, RabbitMQ

MESSAGES_PER_SECOND = 500  # of each producer
#: How long nothing fails between two faults.
PAUSE_S = (0.2, 2.0)


@dataclass
class Tally:
    """What happened.

    Args:
        faults: how often each fault was caused.
        recoveries_s: after each fault, how long it took until something was stored again.
        confirmed: distinct messages that the broker confirmed to a producer.
        reports: how many of them were reports.
        ends: how often a consumer ended with which exit status.
        counts: what the last consumers counted, added up.
        verdict: what became of the messages. There is one only if none was lost and none stored twice.
    """

    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    recoveries_s: list[float] = field(default_factory=list)
    confirmed: int = 0
    reports: int = 0
    ends: Counter[int] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    verdict: Verdict | None = None


def soak(database: str, seconds: float, seed: int, say: Callable[[str], object]) -> Tally:
    """Let faults happen for so long.

    Args:
        database: `sqlite`, `postgresql` or `mariadb`.
        seed: of the schedule; which messages a fault hits is up to the machine.
        say: told of each fault.

    Raises:
        AssertionError: something was lost, invented or stored twice; a consumer ended by itself, or did not recover.
    """
    tally = Tally(seed)
    with _stage(database, random.Random(seed)) as stage:
        with stage.trial.producing(MESSAGES_PER_SECOND), stage.trial.producing(MESSAGES_PER_SECOND):
            until = time.monotonic() + seconds
            for fault in _schedule(stage):
                if time.monotonic() > until:
                    break
                time.sleep(stage.dice.uniform(*PAUSE_S))
                _cause(fault, stage, tally, say)
        say("healed; waiting for what is left")
        stage.consumers.revive()
        wait_until(lambda: stage.trial.amqp.counts() == (0, 0), 120, "an empty queue")
        for counts in stage.consumers.stop():
            tally.counts.update({name: n for name, n in counts.items() if isinstance(n, int)})
        tally.ends = stage.consumers.ends
        tally.reports = len(stage.trial.traffic.reports)
        tally.confirmed = tally.reports + len(stage.trial.traffic.bad)
        tally.verdict = stage.trial.assert_nothing_lost()
        assert stage.consumers.surprises == [], "\n\n".join(stage.consumers.surprises)
    return tally


def _schedule(stage: Stage) -> Iterator[Fault]:
    """Every fault once in random order, then every one again, and so on."""
    faults = list(faults_for(stage))
    while True:
        stage.dice.shuffle(faults)
        yield from faults


def _cause(fault: Fault, stage: Stage, tally: Tally, say: Callable[[str], object]) -> None:
    name = fault.__name__.replace("_", " ")
    say(name)
    fault(stage)
    tally.faults[name] += 1
    stage.consumers.revive()
    over_at = time.monotonic()
    stored = count_rows(stage.trial.url, DeviceHistory)
    wait_until(lambda: count_rows(stage.trial.url, DeviceHistory) > stored, RECOVERY_S, f"progress after {name}")
    tally.recoveries_s.append(time.monotonic() - over_at)


@contextlib.contextmanager
def _stage(database: str, dice: random.Random) -> Iterator[Stage]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rpi-health-soak-")))
        rabbitmq = stack.enter_context(RabbitMQ())
        server: PostgreSQL | MariaDB | None = None
        if database != "sqlite":
            server = stack.enter_context(PostgreSQL() if database == "postgresql" else MariaDB())
        url = f"sqlite:///{folder / 'fleet.db'}" if server is None else server.create_database("soak")
        broker_proxy = stack.enter_context(Proxy(rabbitmq.port))
        database_proxy = None if server is None else stack.enter_context(Proxy(server.port))
        settings = {
            "amqp_url": Amqp(rabbitmq, "").url_by(broker_proxy.port, heartbeat=HEARTBEAT_S),
            "database_url": url if server is None else url.replace(f":{server.port}/", f":{database_proxy.port}/"),
            # A service manager would start it again and again; here that would be a surprise.
            "startup_timeout": "60s",
            "batch_size": "200",
        }
        cli = Cli(folder)
        stack.callback(cli.close)
        trial = Trial(Amqp(rabbitmq, "soak"), url, cli, lambda _name, _value: None)
        trial.amqp.declare()
        # Beforehand: a policy with a length and an overflow drops the head before it knows of the overflow.
        trial.amqp.declare(trial.amqp.dead_letter_queue, {"x-overflow": "reject-publish"})
        yield Stage(trial, dice, rabbitmq, server, broker_proxy, database_proxy, Consumers(trial, settings, dice))
