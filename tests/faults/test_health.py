"""What a consumer says of itself is true: ready while it stores, live while it can go on, with the reason if not."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from rpi_health.health import Health
from rpi_health.supervisor import Supervisor
from tests.consuming import Consuming
from tests.faults.conftest import DatabaseServer, MakeTrial
from tests.scrape import SERVE, Served
from tests.trial import Trial
from tests.waiting import wait_until
from tools.servers import RabbitMQ

#: As `Trial.consume` takes it.
SERVED = {"metrics_addr": SERVE["RPI_HEALTH_METRICS_ADDR"]}


def wait_ready(served: Served) -> None:
    wait_until(lambda: served.health("/readyz") == (200, []), 30, "it to be ready")


def wait_not_ready(served: Served, says: str) -> None:
    def is_said() -> bool:
        status, reasons = served.health("/readyz")
        return status == 503 and any(says in reason for reason in reasons)

    wait_until(is_said, 30, says)


def test_consumer_without_a_broker_is_live_and_not_ready(sqlite_trial: Trial, rabbitmq: RabbitMQ) -> None:
    consumer = sqlite_trial.consume(**SERVED)
    served = Served(consumer)
    wait_ready(served)
    rabbitmq.kill()
    wait_not_ready(served, "Nothing is consumed")
    assert served.health("/livez") == (200, [])
    assert served.value("rpi_health_ready") == 0
    rabbitmq.start()
    wait_ready(served)
    assert served.value("rpi_health_reconnects_total") == 1
    sqlite_trial.publish(1)
    sqlite_trial.finish(consumer)


def test_consumer_without_a_database_is_live_and_not_ready(
    make_trial: MakeTrial, server: DatabaseServer, request: pytest.FixtureRequest
) -> None:
    kind = type(server).__name__.lower()
    trial = make_trial(request.getfixturevalue(f"{kind}_url"))
    consumer = trial.start(**SERVED, park_after="2s")
    served = Served(consumer)
    wait_ready(served)
    wait_until(lambda: served.value("rpi_health_fleet_known") == 1, 30, "the fleet to be known")
    server.kill()
    trial.publish(1)
    wait_not_ready(served, "Nothing can be stored")
    assert served.health("/livez") == (200, [])
    wait_until(lambda: served.value("rpi_health_parked_seconds_total") > 0, 30, "it to be parked")
    assert served.value("rpi_health_held_seconds_total") > 0
    wait_until(lambda: served.value("rpi_health_retries_total", {"step": "database"}) > 1, 30, "tries")
    server.start()
    wait_ready(served)
    held_s = served.value("rpi_health_held_seconds_total")
    trial.assert_recovers()
    assert served.value("rpi_health_held_seconds_total") == held_s
    trial.finish(consumer)


def test_consumer_whose_prefetch_is_full_of_dead_letters_is_live_and_not_ready(sqlite_trial: Trial) -> None:
    trial, dead = sqlite_trial, sqlite_trial.amqp.dead_letter_queue
    trial.amqp.declare(dead, {"x-max-length": 0, "x-overflow": "reject-publish"})
    consumer = trial.start(**SERVED, prefetch="5")
    served = Served(consumer)
    wait_ready(served)
    trial.publish(bad=9)
    wait_not_ready(served, "Nothing is taken: 5 dead letters cannot be published: The broker did not take")
    assert served.health("/livez") == (200, [])
    with trial.amqp.channel() as channel:
        channel.queue_delete(dead)  # so that one without a limit is declared
    wait_ready(served)
    trial.finish(consumer)


def test_database_that_hangs_keeps_nobody_waiting(postgresql_trial: Trial, postgresql: DatabaseServer) -> None:
    consumer = postgresql_trial.start(**SERVED, park_after="5s")
    served = Served(consumer)
    wait_ready(served)
    postgresql.freeze()
    try:
        postgresql_trial.publish(1)
        wait_until(lambda: postgresql_trial.amqp.counts() == (0, 1), 15, "it to be delivered")
        for _ in range(3):
            assert served.value("rpi_health_live") == 1  # each within the time that Prometheus waits
        consumer.wait_for("parked")
        wait_until(lambda: served.health("/readyz")[0] == 503, 30, "it to be not ready")
        assert "The database has not answered for" in served.health("/readyz")[1][0]
    finally:
        postgresql.thaw()
    postgresql_trial.finish(consumer)


class ServiceManager:
    """Listens as systemd does, and remembers what it was told."""

    def __init__(self, address: str) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self._address)
        self._socket.setblocking(False)
        self._heard: list[str] = []

    def have_no_room(self) -> None:
        """Have nothing more reach it until it listens again: `heard` makes room."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wire, contextlib.suppress(BlockingIOError):
            wire.setblocking(False)
            while True:
                wire.sendto(b"", self._address)

    def heard(self) -> list[str]:
        """All lines so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._heard += self._socket.recv(4096).decode().splitlines()
        return self._heard

    def wait_for(self, line: str) -> None:
        wait_until(lambda: any(line in each for each in self.heard()), 30, line)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"@rpi-health-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify")


@pytest.fixture
def manager(address: str) -> Iterator[ServiceManager]:
    listening = ServiceManager(address)
    yield listening
    listening.close()


def start(trial: Trial, address: str, watchdog_s: float) -> Consuming:
    trial.env.update(NOTIFY_SOCKET=address, WATCHDOG_USEC=str(int(watchdog_s * 1e6)))
    return trial.consume()


def test_service_manager_is_told_when_it_is_ready_how_it_is_and_that_it_stops(
    sqlite_trial: Trial, manager: ServiceManager, address: str, rabbitmq: RabbitMQ
) -> None:
    consumer = start(sqlite_trial, address, 1)
    manager.wait_for("STATUS=Taking and storing messages.")
    assert manager.heard().count("READY=1") == 1
    assert bool(consumer.events("consuming"))
    rabbitmq.kill()
    manager.wait_for("STATUS=Nothing is consumed: The broker")
    alive = manager.heard().count("WATCHDOG=1")
    wait_until(lambda: manager.heard().count("WATCHDOG=1") > alive + 1, 30, "word of it while the broker is away")
    rabbitmq.start()
    wait_until(lambda: last_status(manager) == "STATUS=Taking and storing messages.", 30, "it to be well again")
    consumer.stop()
    assert "STOPPING=1" in manager.heard()
    assert manager.heard().count("READY=1") == 1


def last_status(manager: ServiceManager) -> str:
    return [line for line in manager.heard() if line.startswith("STATUS=")][-1]


def test_service_manager_that_does_not_listen_holds_up_nothing_and_is_told_later(
    sqlite_trial: Trial, manager: ServiceManager, address: str
) -> None:
    manager.have_no_room()
    consumer = start(sqlite_trial, address, 0.2)
    consumer.wait_for("consuming")
    sqlite_trial.publish(1)
    sqlite_trial.wait_stored()
    manager.wait_for("READY=1")
    assert last_status(manager) == "STATUS=Taking and storing messages."
    manager.have_no_room()
    consumer.stop()


def test_service_manager_hears_no_word_of_life_from_who_can_make_no_progress(
    manager: ServiceManager, address: str
) -> None:
    supervisor = Supervisor(address, watchdog_s=0.001)
    supervisor.tell(Health(not_live=("The thread hangs.",)))
    assert manager.heard() == ["STATUS=The thread hangs."]
    supervisor.tell(Health(not_ready=("The broker is away.",)))
    assert "WATCHDOG=1" in manager.heard()


def test_process_that_is_frozen_gives_no_word(sqlite_trial: Trial, manager: ServiceManager, address: str) -> None:
    consumer = start(sqlite_trial, address, 0.2)
    manager.wait_for("WATCHDOG=1")
    consumer.process.send_signal(signal.SIGSTOP)
    try:
        heard = len(manager.heard())
        assert not _comes_within(manager, heard, 1.0)
    finally:
        consumer.process.send_signal(signal.SIGCONT)
    wait_until(lambda: len(manager.heard()) > heard, 30, "word of it again")
    consumer.stop()


def _comes_within(manager: ServiceManager, count: int, seconds: float) -> bool:
    try:
        wait_until(lambda: len(manager.heard()) > count, seconds, "nothing")
    except TimeoutError:
        return False
    return True
