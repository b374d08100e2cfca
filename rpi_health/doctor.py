"""An examination of a set-up, from the settings to a stored row: the other place where the parts meet, beside `app`."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from datetime import datetime, timezone

from rpi_health import broker, errors, example, fleet, store
from rpi_health.config import Config
from rpi_health.finding import BROKEN, OK, WARNING, Finding, Seen, walk
from rpi_health.payload import decode
from rpi_health.report import Envelope, Report
from rpi_health.settings import SETTINGS

#: The device of the report that is written and taken back.
DEVICE = "rpi-health-doctor"


def examine(config: Config, *, round_trip: bool) -> Iterator[Finding]:
    """Go from the settings to a stored row, and change nothing that stays.

    Args:
        round_trip: also send a report through a queue of its own, and write and take back what comes out of it.

    Yields: what each step finds, as soon as it is known.
    """
    yield _settings(config)
    for notice in config.notices:
        fields = ", ".join(f"{name} {value}" for name, value in notice.fields.items())
        yield Finding("configuration", "notice", WARNING, f"{notice.event.sentence} {fields}", (), 0)
    with ExitStack() as opened:
        try:
            addresses = broker.Broker(config.amqp_urls, config.queue_type, config.tls).examinations()
            database = store.Examination(config.database_url, _report(_body()))
        except errors.ConfigurationError as error:  # what only a driver finds wrong with a URL
            yield Finding("configuration", "URLs", BROKEN, str(error), (), error.exit_status)
            return
        for address in addresses:
            opened.callback(address.close)
        opened.callback(database.close)
        reached = yield from _first_reached(addresses)
        if reached is not None:
            yield from reached.queues(config.queue, config.dead_letter_queue)
        stores = yield from _passed(database.way())
        if reached is not None and stores:
            yield from _together(config, reached, database, round_trip)


def _settings(config: Config) -> Finding:
    given = [setting for setting in SETTINGS if config.origin(setting.name) != "default"]
    details = [f"{setting.name}: {config.shown(setting.name)} ({config.origin(setting.name)})" for setting in given]
    file = f"config file {config.config_file}" if config.config_file is not None else "no config file"
    says = f"{file}; {len(given)} of {len(SETTINGS)} settings given, the others are defaults"
    return Finding("configuration", "settings", OK, says, details, 0)


def _first_reached(
    addresses: list[broker.Examination],
) -> Generator[Finding, None, broker.Examination | None]:
    """Try all addresses. Returns the first that can be used; while there is one, the others are only worth a look."""
    ways = [list(address.way()) for address in addresses]
    reached = [address for address, way in zip(addresses, ways) if not _is_broken(way)]
    for way in ways:
        for finding in way:
            spared = bool(reached) and finding.verdict == BROKEN
            yield finding._replace(verdict=WARNING, exit_status=0) if spared else finding
    return reached[0] if reached else None


def _passed(way: Iterator[Finding]) -> Generator[Finding, None, bool]:
    """Pass on what is found. Returns whether nothing was broken."""
    found = []
    for finding in way:
        found.append(finding)
        yield finding
    return not _is_broken(found)


def _is_broken(found: list[Finding]) -> bool:
    return any(finding.verdict == BROKEN for finding in found)


def _together(
    config: Config, address: broker.Examination, database: store.Examination, round_trip: bool
) -> Iterator[Finding]:
    """What takes both the broker and the database."""
    trip = {"round trip": lambda: _round_trip(address, database)} if round_trip else {}
    steps = {"consumers": lambda: _compare_consumers(config, address.consumers, database), **trip}
    yield from walk("from the broker to the database", steps, errors.BrokerError.exit_status, _translate)


def _translate(error: Exception) -> errors.RpiHealthError:
    if isinstance(error, errors.RpiHealthError):
        return error
    return errors.RpiHealthError(f"this was not expected, please report it: {type(error).__name__}: {error}")


def _compare_consumers(config: Config, consuming: int, database: store.Examination) -> Seen:
    """Whoever else takes messages keeps them from this database."""
    now = datetime.now(timezone.utc)
    running = [each for each in fleet.consumers(database.engine) if not each.is_gone(now)]
    ours = sum(each.connected and each.queue == config.queue for each in running)
    says = f"{consuming} on the queue, {ours} of them known to this database"
    if consuming > ours:
        return Seen(WARNING, f"{says}: another program takes messages, too, or a consumer writes to another database")
    if ours > consuming:
        return Seen(WARNING, f"{says}: one consumes at another broker or virtual host, or has only just ended")
    return Seen(OK, says) if ours else Seen(WARNING, f"{says}: run `rpi-health consume`")


def _round_trip(address: broker.Examination, database: store.Examination) -> Seen:
    sent = _body()
    try:
        returned = address.echo(sent)
    except errors.BrokerRefused as error:
        return Seen(WARNING, f"{error} The trip needs a queue of its own, named amq.gen-…; a consumer does not.")
    if returned != sent:
        return Seen(
            BROKEN, "what came back is not what was sent: something between here and the broker changes messages"
        )
    if not database.rehearse(_report(returned)):
        return Seen(BROKEN, "the report came back from the broker, was written, and is not there")
    return Seen(OK, "a report went through a queue into a row and was found there; both are gone")


def _body() -> bytes:
    return json.dumps({"id": DEVICE, **example.REPORT, "doctor": os.urandom(8).hex()}).encode()


def _report(body: bytes) -> Report:
    return decode(body, Envelope(datetime.now(timezone.utc), os.urandom(16)))
