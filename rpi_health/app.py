"""The hall: the only place where the parts meet. Makes them from the settings and connects them.

A room is imported when somebody enters it: who only looks at the fleet does not wait for pika, and the other way round.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from rpi_health.errors import ConfigurationError
from rpi_health.urls import split_address
from rpi_health.version import __version__

if TYPE_CHECKING:
    from rpi_health.broker import Broker, DeadQueue, Outcome, Outgoing
    from rpi_health.config import Config
    from rpi_health.consumer import Consumer, Limits
    from rpi_health.delivery import DeadLetter, Letter
    from rpi_health.device import Device, Selection
    from rpi_health.hearing import Rules
    from rpi_health.metric import Bucket, Metric, Reading
    from rpi_health.monitor import Fleet
    from rpi_health.presence import Identity, Overview
    from rpi_health.store import Retention, Upkeep

_CHUNK_LETTERS, _CHUNK_BYTES = 500, 8 * 1024 * 1024
_SPAN_S = 2400  # of a sparkline: 36 of them fit beside the figures


def make_consumer(
    config: Config,
    *,
    until_empty: bool = False,
    max_messages: int | None = None,
    patient: bool = False,
    observe: Callable[[list[dict[str, Any]]], None] | None = None,
) -> Consumer:
    """A consumer as the settings describe it, ready to `run`.

    Args:
        until_empty: stop when the queue is drained.
        max_messages: stop after so many messages.
        patient: wait for broker and database for ever at the start, instead of raising after `startup_timeout`.
        observe: called with the payloads of each batch.
    """
    from rpi_health import database, schema
    from rpi_health.consumer import Consumer
    from rpi_health.failpoints import Failpoints, parse
    from rpi_health.store import Store

    engine = database.create_engine(config.database_url, writer=True, must_exist=True)
    identity = _identity(config)
    connect: Callable[[], Any] = _broker(config).connect
    store: Any = Store(engine, identity)
    publish = _dead_letter_publisher(config)
    if config.failpoints is not None:
        failpoints = Failpoints(parse(config.failpoints))
        connect, publish = failpoints.around_connect(connect), failpoints.around_publish(publish)
        store = failpoints.around_store(store, engine)
    return Consumer(
        connect=connect,
        store=store,
        check_database=lambda: schema.check(engine),
        publish=publish,
        limits=_limits(config, until_empty, max_messages, patient),
        observe=observe,
        upkeep=_upkeep(config, identity.token),
    )


def _limits(config: Config, until_empty: bool, max_messages: int | None, patient: bool) -> Limits:
    from rpi_health.consumer import Limits

    return Limits(
        queue=config.queue,
        batch_size=config.batch_size,
        prefetch=config.prefetch,
        until_empty=until_empty,
        max_messages=max_messages,
        startup_timeout_s=None if patient else config.startup_timeout_s,
        drain_timeout_s=config.drain_timeout_s,
        reconnect_limit_s=config.reconnect_max_delay_s,
        database_retry_limit_s=config.database_retry_max_delay_s,
        park_after_s=config.park_after_s,
        count_stale=config.metrics_addr is not None,
    )


@contextmanager
def monitored(config: Config, consumer: Consumer) -> Iterator[None]:
    """Serve the metrics and the health of a consumer meanwhile, where the settings say so.

    Raises:
        ConfigurationError: nothing can listen there, or `rpi-health[metrics]` is not installed.
    """
    if config.metrics_addr is None:
        yield
        return
    try:
        from rpi_health import monitor
    except ModuleNotFoundError as missing:
        raise ConfigurationError(
            "Metrics need Prometheus' client library: pip install 'rpi-health[metrics]', or unset metrics_addr."
        ) from missing
    with _fleet(config) as look:
        collectors = (monitor.ConsumerCollector(consumer), monitor.FleetCollector(monitor.Watch(look).last))
        site = monitor.Site(lambda: consumer.health, collectors)
        with closing(monitor.Server(split_address(config.metrics_addr), site)):
            yield


@contextmanager
def _fleet(config: Config) -> Iterator[Callable[[], Fleet]]:
    """What looks at the fleet, at some devices and at all in figures, again and again."""
    from rpi_health import database, fleet
    from rpi_health.device import Selection
    from rpi_health.monitor import Fleet

    engine = database.create_engine(config.database_url)
    selection, rules = Selection(sort="id", limit=config.metrics_devices), _rules(config)
    try:
        yield lambda: Fleet(*fleet.look(engine, selection, rules))
    finally:
        engine.dispose()


def _identity(config: Config) -> Identity:
    """Who this consumer is, to whoever looks at the fleet."""
    from rpi_health.presence import Identity

    now = datetime.now(timezone.utc)
    return Identity(os.urandom(8), socket.gethostname()[:255], os.getpid(), __version__, config.queue, now)


def _upkeep(config: Config, owner: bytes) -> Upkeep | None:
    """What deletes old reports, if they are to be deleted; with connections of its own, for a thread of its own."""
    from rpi_health import database
    from rpi_health.store import Upkeep

    if not config.retention_s:
        return None
    engine = database.create_engine(config.database_url, writer=True, must_exist=True)
    return Upkeep(engine, owner, timedelta(seconds=config.retention_s))


def bind_sessions(config: Config) -> None:
    """Have `SessionLocal` open its sessions on the database of these settings, unless it has one already."""
    from rpi_health import database

    database.SessionLocal.bind_once(config.database_url)


def _broker(config: Config) -> Broker:
    from rpi_health.broker import Broker

    return Broker(config.amqp_urls, config.queue_type, config.tls)


def _dead_letter_publisher(
    config: Config,
) -> Callable[[Sequence[Letter]], tuple[frozenset[int], Any]]:
    from rpi_health.broker import as_outgoing

    broker = _broker(config)  # of its own: it is used on another thread than the consumer's

    def publish(letters: Sequence[Letter]) -> tuple[frozenset[int], Any]:
        outcome = broker.publish(config.dead_letter_queue, [as_outgoing(letter, config.queue) for letter in letters])
        return outcome.failed.union(range(outcome.published, len(letters))), outcome.error

    return publish


def publish(
    config: Config,
    messages: Iterable[Outgoing],
    *,
    per_second: float | None = None,
    on_confirmed: Callable[[int], None] | None = None,
) -> Outcome:
    """Publish messages to the queue of the settings. See `Broker.publish`."""
    return _broker(config).publish(config.queue, messages, per_second=per_second, on_confirmed=on_confirmed)


@contextmanager
def dead_letters(config: Config) -> Iterator[DeadQueue]:
    """The dead-letter queue of the settings, to look through. What is not settled stays.

    Raises:
        BrokerError: the broker cannot be used.
    """
    dead = _broker(config).dead_letters(config.dead_letter_queue)
    try:
        yield dead
    finally:
        dead.close()


def retry(config: Config, dead: DeadQueue, letters: Iterable[DeadLetter]) -> Iterator[int]:
    """Send letters to the queue of the settings again. Each is settled when the broker has confirmed that, not before.

    Yields: how many were, some at a time.

    Raises:
        BrokerError: those that were not confirmed are still dead letters.
    """
    from rpi_health.broker import again

    for chunk in _chunks(letters):
        outcome = publish(config, map(again, chunk))
        confirmed = [each for n, each in enumerate(chunk) if n < outcome.published and n not in outcome.failed]
        dead.settle(confirmed)
        yield len(confirmed)
        if outcome.error is not None:
            raise outcome.error


def purge(dead: DeadQueue, letters: Iterable[DeadLetter]) -> Iterator[int]:
    """Delete letters. Yields how many were, some at a time. Raises as `retry` does."""
    for chunk in _chunks(letters):
        dead.settle(chunk)
        yield len(chunk)


def bring_back(config: Config, letters: Iterable[DeadLetter]) -> Outcome:
    """Publish letters to the dead-letter queue of the settings, as they were. See `Broker.publish`."""
    from rpi_health.broker import as_it_was

    return _broker(config).publish(config.dead_letter_queue, map(as_it_was, letters))


def _chunks(letters: Iterable[DeadLetter]) -> Iterator[list[DeadLetter]]:
    """Some letters at a time, and not too many bytes of them."""
    chunk: list[DeadLetter] = []
    size = 0
    for letter in letters:
        chunk.append(letter)
        size += len(letter.body)
        if len(chunk) == _CHUNK_LETTERS or size >= _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def init_database(config: Config, say: Callable[[str], object]) -> str:
    """Create or upgrade the tables. Returns a sentence about what was done. See `migrations.upgrade`."""
    from rpi_health import migrations

    return str(migrations.upgrade(config.database_url, say=say))


def check_database(config: Config) -> None:
    """Raise `SchemaNotCurrent` unless the tables are those of this version."""
    from rpi_health import schema

    schema.check(config.database_url)


def devices(config: Config, selection: Selection) -> tuple[list[Device], Overview]:
    """The devices of a selection, and the whole fleet in figures.

    Raises:
        DatabaseError: the database cannot be read.
        SchemaNotCurrent: `rpi-health init-db` must run first.
    """
    from rpi_health import fleet

    with _opened(config) as engine:
        return fleet.look(engine, selection, _rules(config))


def _rules(config: Config) -> Rules:
    from rpi_health.hearing import Rules

    return Rules(config.interval_s, config.late_after, config.offline_after)


def find(config: Config, raspberry_id: str) -> str:
    """The id of a device, from what people type. Raises as `device` does."""
    from rpi_health import fleet

    with _opened(config) as engine:
        return fleet.find(engine, raspberry_id)


def device(config: Config, raspberry_id: str, now: datetime) -> tuple[Device, list[Bucket]]:
    """One device, and its last 24 hours in spans of 40 minutes: the ranges of `metric.USUAL`. Raises as `devices` does.

    Raises:
        UnknownDevice: it never reported.
    """
    from rpi_health import fleet, history
    from rpi_health.metric import USUAL

    since = now - timedelta(days=1) + timedelta(seconds=_SPAN_S)
    with _opened(config) as engine:
        found = fleet.device(engine, raspberry_id, _rules(config))
        buckets = history.buckets(engine, found.raspberry_id, since, now, USUAL, _SPAN_S)
        return found, history.filled(buckets, since, now, _SPAN_S, len(USUAL))


def readings(
    config: Config, raspberry_id: str, since: datetime, until: datetime, metrics: Sequence[Metric]
) -> tuple[list[Reading], datetime | None]:
    """What the reports of a device say, and until when only hourly figures are left. Raises as `device` does.

    See `history.readings` and `history.hourly_until`.
    """
    from rpi_health import fleet, history

    with _opened(config) as engine:
        found = fleet.find(engine, raspberry_id)
        readings = history.readings(engine, found, since, until, metrics)
        return readings, history.hourly_until(engine, found, since, until)


def buckets(
    config: Config, raspberry_id: str, since: datetime, until: datetime, metrics: Sequence[Metric], every_s: int
) -> tuple[list[Bucket], datetime | None]:
    """The same by spans of time, and until when there are only hourly figures that do not fit into spans so short."""
    from rpi_health import fleet, history
    from rpi_health.metric import HOUR_S

    with _opened(config) as engine:
        found = fleet.find(engine, raspberry_id)
        buckets = history.buckets(engine, found, since, until, metrics, every_s)
        fits = every_s >= HOUR_S
        return buckets, None if fits else history.hourly_until(engine, found, since, until)


@contextmanager
def retention(config: Config) -> Iterator[Retention]:
    """What deletes old reports and devices.

    Raises:
        DatabaseError: the database cannot be used.
        SchemaNotCurrent: `rpi-health init-db` must run first.
    """
    from rpi_health.store import Retention

    with _opened(config, writer=True) as engine:
        yield Retention(engine, datetime.now(timezone.utc))


@contextmanager
def _opened(config: Config, *, writer: bool = False) -> Iterator[Any]:
    """An engine on tables that are those of this version."""
    from rpi_health import database, schema

    engine = database.create_engine(config.database_url, writer=writer, must_exist=writer)
    try:
        schema.check(engine)
        yield engine
    finally:
        engine.dispose()
