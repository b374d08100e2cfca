"""A trial: a queue, a database, consumers, and what was sent. A test adds the fault."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pika.exceptions
import sqlalchemy as sa

from rpi_health import migrations
from rpi_health.database import create_engine
from rpi_health.models import ConsumerStatus, DeviceHistory
from tests.amqp import Amqp
from tests.command import Cli
from tests.consuming import Consuming
from tests.oracle import Verdict, assert_nothing_lost, is_stored
from tests.reports import count_rows
from tests.traffic import Traffic
from tests.waiting import wait_until

#: How soon after the end of a fault a report must be stored.
RECOVERY_S = 15
#: The product's waiting times, scaled down.
QUICK = {"RPI_HEALTH_RECONNECT_MAX_DELAY": "1s", "RPI_HEALTH_DATABASE_RETRY_MAX_DELAY": "0.5s"}
_CHUNK = 200
_A_MOMENT = timedelta(seconds=1)


class Trial:
    """Everything of one scenario but its fault.

    Args:
        amqp: the queue. It is declared as producers do when the first message is published, unless it is there.
        url: an empty database; its tables are made here.
        cli: starts the consumers.
        record: takes a name and a value for the table that is printed after the tests.
    """

    def __init__(self, amqp: Amqp, url: str, cli: Cli, record: Callable[[str, object], None]) -> None:
        migrations.upgrade(url)
        self.amqp = amqp
        self.url = url
        self.env = {**amqp.env, "RPI_HEALTH_DATABASE_URL": url, **QUICK}
        self.traffic = Traffic()
        self._cli = cli
        self._record = record

    @property
    def database(self) -> str:
        """The name of the database on its server."""
        return self.url.rpartition("/")[2]

    def url_by(self, port: int, **options: str) -> str:
        """The way to the database through another port, such as a proxy's; with options of the driver."""
        url = sa.make_url(self.url).set(port=port, query=options)
        return url.render_as_string(hide_password=False)

    def consume(self, *args: str, amqp_url: str = "", **settings: str) -> Consuming:
        """Start a consumer.

        Args:
            args: options of `consume`.
            amqp_url: another way to the broker, such as a proxy.
            settings: by the name that follows `RPI_HEALTH_`, in lower case.
        """
        own = {f"RPI_HEALTH_{name.upper()}": value for name, value in settings.items()}
        if amqp_url:
            own["RPI_HEALTH_AMQP_URL"] = amqp_url
        return Consuming(self._cli, {**self.env, **own}, *args)

    def start(self, amqp_url: str = "", **settings: str) -> Consuming:
        """Start a consumer, and have it store something: it is connected on both sides. See `consume`."""
        consumer = self.consume(amqp_url=amqp_url, **settings)
        self.publish(1)
        self.wait_stored()
        return consumer

    def publish(self, count: int = 1, bad: int = 0) -> None:
        """Publish so many reports, then so many messages that are none, and wait until all are confirmed."""
        self.amqp.publish([*self.traffic.make_reports(count), *self.traffic.make_bad(bad)])

    def publish_mixed(self, count: int, copies: int = 1) -> None:
        """Publish so many messages in random order, one of a hundred bad; each so many times."""
        self.amqp.publish(self.traffic.make_mixed(count) * copies)

    @contextlib.contextmanager
    def producing(self, per_second: float = 2_000) -> Iterator[None]:
        """Publish meanwhile, as a producer that waits for its confirms and sends again what was not confirmed."""
        stop = threading.Event()
        thread = threading.Thread(target=self._produce, args=(stop, _CHUNK / per_second))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(60)
            assert not thread.is_alive(), "the producer never had its confirms"

    def _produce(self, stop: threading.Event, pause_s: float) -> None:
        while not stop.wait(pause_s):
            bodies = self.traffic.make_mixed(_CHUNK)
            while True:
                try:
                    self.amqp.publish(bodies)
                    break
                except (pika.exceptions.AMQPError, OSError, ValueError, AssertionError):
                    # Confirmed or not, nobody knows: it is sent again.
                    time.sleep(0.2)

    def wait_stored(self, timeout_s: float = 30) -> None:
        """Wait until every report that was sent is in the history."""
        wait_until(
            lambda: count_rows(self.url, DeviceHistory) >= len(self.traffic.reports), timeout_s, "all to be stored"
        )

    def wait_seen(self) -> None:
        """Wait until a consumer has just said that it runs: some seconds pass before it does that again.

        Where the whole database is locked then, it is a batch that its writer waits with, not that word.
        """
        engine = create_engine(self.url)
        query = sa.select(sa.func.max(ConsumerStatus.updated_at)).where(ConsumerStatus.connected)

        def is_seen() -> bool:
            with engine.connect() as connection:
                at: datetime | None = connection.scalar(query)
            return at is not None and datetime.now(timezone.utc) - at < _A_MOMENT

        wait_until(is_seen, 20, "the consumer to be seen")
        engine.dispose()

    def assert_recovers(self, within_s: float = RECOVERY_S) -> None:
        """To be called when the fault is over: a report that is sent now is stored in time."""
        over_at = time.monotonic()
        (body,) = self.traffic.make_reports(1)
        key = max(self.traffic.reports, key=lambda key: key.number)
        self.amqp.publish([body])
        wait_until(lambda: is_stored(self.url, key), within_s, "a report that was sent after the fault to be stored")
        self._record("recovered_s", round(time.monotonic() - over_at, 1))

    def assert_nothing_lost(self, *counts: dict[str, Any]) -> Verdict:
        """Judge what became of all that was sent. The counts are those of the consumers, for the table."""
        verdict = assert_nothing_lost(self.traffic, self.amqp, self.url)
        self._record("stored", verdict.stored)
        self._record("dead_lettered", verdict.dead_lettered)
        for name in ("sessions", "redelivered", "stale_acks", "database_retries", "parked"):
            self._record(name, sum(each[name] for each in counts))
        return verdict

    def finish(self, consumer: Consuming) -> dict[str, Any]:
        """Wait until all is stored and settled, stop the consumer in good order, and judge. Returns its counts."""
        self.wait_stored()
        wait_until(self._is_delivered, 15, "an empty queue")
        counts = consumer.stop()
        self.assert_nothing_lost(counts)
        return counts

    def finish_held(self, consumer: Consuming, *, retried: bool = True, parked: int = 0) -> dict[str, Any]:
        """To be called when the database's fault is over: as `finish`; and the broker must have noticed nothing.

        Args:
            retried: whether it must have tried in vain to store something.
            parked: so many times must it have handed the messages back.
        """
        self.assert_recovers()
        assert not consumer.events("retry"), "it lost the broker, too"
        counts = self.finish(consumer)
        assert (counts["sessions"], counts["parked"]) == (1 + parked, parked)
        assert counts["dead_lettered"] == len(self.traffic.bad)
        assert (counts["database_retries"] > 0) == retried, "the fault did not happen: nothing was proved"
        return counts

    def _is_delivered(self) -> bool:
        """Whether no message is ready. Much faster than to ask how many are unsettled, too."""
        with self.amqp.channel() as channel:
            return bool(channel.queue_declare(self.amqp.queue, passive=True).method.message_count == 0)
