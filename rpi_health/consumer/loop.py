"""The I/O thread: connects, consumes, reconnects, parks and drains. Owns the connection and its session."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from rpi_health import errors, events
from rpi_health.consumer.backoff import Backoff
from rpi_health.consumer.dead_letters import DeadLetters, Publish
from rpi_health.consumer.intake import Intake
from rpi_health.consumer.janitor import Janitor, Upkeep
from rpi_health.consumer.limits import Limits
from rpi_health.consumer.link import Connection, Session
from rpi_health.consumer.pulse import Pulse
from rpi_health.consumer.summary import Summary
from rpi_health.consumer.tally import Tally
from rpi_health.consumer.vitals import Vitals
from rpi_health.consumer.worker import Worker
from rpi_health.consumer.writer import Store, Writer
from rpi_health.delivery import Delivery
from rpi_health.health import Health

_T = TypeVar("_T")

_FIRST_RECONNECT_S = 0.5
_TICK_S = 1.0
_DRAIN_TICK_S = 0.05
# What closing the session may take after that: a broker that is frozen does not answer.
_GOODBYE_S = 3.0
# The janitor ends within a transaction. If that hangs, so be it: it is undone, and done by the next one.
_JANITOR_GOODBYE_S = 1.0
# Connected but not consuming is the classic freeze: after so long without a delivery, ask whether any should come.
_STALLED_AFTER_S = 60.0
_LOOKS_STABLE_AFTER_S = 60.0
# A batch that takes so long is in trouble, though nobody has said so.
_SLOW_S = 30.0


class Consumer:
    """Takes messages from a queue into the store until it is told to stop.

    Args:
        connect: opens a connection to the broker.
        store: where reports go; used by one thread only.
        check_database: raises an `errors.DatabaseError` while the database cannot be written to.
        publish: publishes letters to the dead-letter queue.
        limits: what to do and how long to try.
        observe: called with the payloads of each batch.
        upkeep: what else is to be done now and then; used by one thread only. None: nothing.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        store: Store,
        check_database: Callable[[], None],
        publish: Publish,
        limits: Limits,
        observe: Callable[[list[dict[str, Any]]], None] | None = None,
        upkeep: Upkeep | None = None,
    ) -> None:
        self._connect = connect
        self._check_database = check_database
        self._limits = limits
        self._log = events.Log(__name__)
        self._stop = threading.Event()
        self._intake = Intake()
        self.tally = Tally()
        if limits.count_stale:
            self.tally.stale = 0
        self._pulse = Pulse()
        self._vitals = Vitals()
        self._summary = Summary(self.tally, self._pulse, self._log)
        self._dead_letters = DeadLetters(publish, self.tally, limits.reconnect_limit_s)
        self._writer = Writer(
            self._intake,
            store,
            self._dead_letters.post,
            self.tally,
            self._pulse,
            self._stop,
            limits.batch_size,
            limits.database_retry_limit_s,
            observe,
        )
        self._threads: list[Worker] = []
        self._janitor = None if upkeep is None else Worker("janitor", Janitor(upkeep, self._stop).run, self.stop)
        self._backoff = Backoff(_FIRST_RECONNECT_S, limits.reconnect_limit_s)
        self._started_at = 0.0
        self._has_consumed = False
        self._connection: Connection | None = None
        self._session: Session | None = None
        self._take_up_to_tag: int | None = None
        self._last_delivery_at = 0.0
        self._stalled_after_s = _STALLED_AFTER_S
        self._drain_until: float | None = None

    def stop(self) -> None:
        """Finish what is in hand and return from `run`. For any thread, more than once; not for a signal handler."""
        self._stop.set()
        for waited_on in (self._session, self._connection):
            if waited_on is not None:
                waited_on.wake()

    @property
    def health(self) -> Health:
        """How it is, as far as is known. Any thread may ask."""
        return Health(tuple(self._vitals.not_live()), tuple(self._not_ready()))

    @property
    def backlog(self) -> int | None:
        """How many messages waited in the queue when that was last asked; None while not consuming."""
        return self._pulse.backlog

    def _not_ready(self) -> Iterator[str]:
        session, trouble = self._session, self._writer.trouble
        if self._stop.is_set():
            yield "It is stopping."
        elif trouble is not None:
            yield f"Nothing can be stored: {trouble}"
        elif self._busy_for_s() >= min(_SLOW_S, self._limits.park_after_s):
            yield f"The database has not answered for {self._busy_for_s():.0f} s."
        elif session is None or not session.is_open:
            yield f"Nothing is consumed: {self._vitals.trouble or 'it is only starting.'}"
        elif self._dead_letters.trouble is not None and self.tally.dead_letters_held >= self._limits.prefetch:
            held = self.tally.dead_letters_held
            yield f"Nothing is taken: {held} dead letters cannot be published: {self._dead_letters.trouble}"

    def run(self) -> None:
        """Consume until `stop`, or until `until_empty` or `max_messages` is reached; then drain.

        Raises:
            BrokerError, DatabaseError: broker or database could not be used within `startup_timeout_s`. Later on,
                trouble with them is waited out.
        """
        self._started_at = time.monotonic()
        self._threads = [
            Worker("writer", self._writer.run, self.stop),
            Worker("dead-letters", self._dead_letters.run, self.stop),
        ]
        for worker in self._threads:
            worker.start()
        try:
            self._persevere(self._examine_database)
            if self._janitor is not None:
                self._janitor.start()
            while not self._stop.is_set():
                self._persevere(self._open_connection)
                self._serve()
        finally:
            self._finish()
        for worker in self._threads:
            worker.reraise()

    def _persevere(self, step: Callable[[], _T]) -> _T | None:
        """Do a step however often it takes. Returns None when told to stop."""
        while not self._stop.is_set():
            try:
                return step()
            except (errors.BrokerError, errors.DatabaseError) as error:
                if self._gives_up(error):
                    raise
                self._wait_after(error)
        return None

    def _gives_up(self, error: errors.RpiHealthError) -> bool:
        patience_s = self._limits.startup_timeout_s
        if self._has_consumed or patience_s is None:
            return False
        may_pass = isinstance(error, (errors.BrokerUnavailable, errors.DatabaseUnavailable))
        return not may_pass or time.monotonic() - self._started_at >= patience_s

    def _wait_after(self, error: errors.RpiHealthError) -> None:
        delay_s = self._backoff.next_s()
        self.tally.retries += 1
        self._vitals.trouble = error
        self._vitals.turn(delay_s)
        self._log.say(events.RETRY, error=error, delay_s=round(delay_s, 2))
        self._stop.wait(delay_s)

    def _examine_database(self) -> None:
        # However long it hangs, or is locked: a new start would have to wait as well.
        self._vitals.turn(math.inf)
        self._check_database()
        self._vitals.turn()

    def _open_connection(self) -> None:
        self._connection = self._connect()

    def _open_session(self, connection: Connection) -> None:
        prefetch = self._limits.prefetch
        self._take_up_to_tag = None
        if self._limits.max_messages is not None:
            self._take_up_to_tag = self._limits.max_messages - self.tally.settled
            prefetch = min(prefetch, self._take_up_to_tag)
        self._last_delivery_at = time.monotonic()
        self._session = connection.open_session(self._limits.queue, prefetch, self._take)
        self._has_consumed = True
        self._pulse.opened(self._session)
        self._vitals.trouble = None
        self.tally.parked_time.stop()
        self.tally.sessions += 1
        self._log.say(events.CONSUMING, queue=self._limits.queue, broker=connection.address)

    def _take(self, delivery: Delivery) -> None:
        if self._take_up_to_tag is not None and delivery.tag > self._take_up_to_tag:
            return
        self.tally.deliveries += 1
        self.tally.redelivered += delivery.redelivered
        self._last_delivery_at = time.monotonic()
        self._stalled_after_s = _STALLED_AFTER_S
        self._intake.put(delivery)

    def _serve(self) -> None:
        """Consume on the open connection until told to stop (then drain), or until it is lost."""
        connection = self._connection
        if connection is None:
            return
        opened_at = time.monotonic()
        try:
            while not self._stop.is_set():
                self._go_on(connection)
            self._drain(connection)
        except errors.BrokerError as error:
            if self._gives_up(error):
                raise
            made_progress = self._session is not None and self._session.settled > 0
            if made_progress or time.monotonic() - opened_at > _LOOKS_STABLE_AFTER_S:
                self._backoff.reset()
            self._drop_session()
            if not self._stop.is_set():
                self._wait_after(error)
        finally:
            self._drop_connection()

    def _go_on(self, connection: Connection) -> None:
        """One turn: consume, or stay connected without a session while nothing can be stored."""
        self._vitals.turn()
        self._summary.say_if_due()
        if self._has_enough():
            self._stop.set()
        elif self._is_stuck():
            self._park()
            connection.process(_TICK_S)
        elif self._session is None and self._writer.trouble is not None:
            # Nothing can be stored yet. Taking messages to lose them with the next connection would cost deliveries.
            connection.process(_TICK_S)
        elif self._session is None:
            self._open_session(connection)
        else:
            # Full, it still receives a little each time: pika and we take a connection without a byte for dead.
            self._session.wait_for_room(_TICK_S)
            connection.process(0 if self._session.is_full else _TICK_S)
            self._session.check()
            self._pulse.look()
            if self._limits.until_empty and self._is_drained(connection, self._session):
                self._stop.set()
            self._check_progress(self._session)

    def _is_stuck(self) -> bool:
        """Whether one batch has been in the writer's hands for too long: the database is away, or hangs."""
        return self._busy_for_s() >= self._limits.park_after_s

    def _busy_for_s(self) -> float:
        busy_since = self._writer.busy_since
        return 0.0 if busy_since is None else time.monotonic() - busy_since

    def _park(self) -> None:
        """Give the messages back, once: each lost session counts towards a quorum queue's delivery limit."""
        if self._session is None:
            return
        self._log.say(events.PARKED)
        self.tally.parked += 1
        self.tally.parked_time.start()
        self._session.close()
        self._drop_session()

    def _has_enough(self) -> bool:
        settled = self.tally.settled + (self._session.settled if self._session is not None else 0)
        return self._limits.max_messages is not None and settled >= self._limits.max_messages

    @staticmethod
    def _is_drained(connection: Connection, session: Session) -> bool:
        if session.delivered > session.settled or session.count_ready():
            return False
        # A delivery may have been under way: the answer to a second question comes behind it.
        if session.count_ready():
            return False
        connection.process(0)
        return session.delivered == session.settled

    def _check_progress(self, session: Session) -> None:
        if session.delivered > session.settled or time.monotonic() - self._last_delivery_at < self._stalled_after_s:
            return
        self._last_delivery_at = time.monotonic()
        waiting = session.count_ready()
        if waiting:
            # Ever more rarely: where the queue has another single active consumer, they are not for us.
            self._stalled_after_s *= 2
            raise errors.BrokerUnavailable(f"The broker delivers nothing, though {waiting} messages wait.")

    def _drain(self, connection: Connection) -> None:
        """Take no more, have what is in hand written and settled, and see the acks off."""
        session = self._session
        if session is None:
            return
        self._vitals.turn(self._limits.drain_timeout_s)
        self._drain_until = deadline = time.monotonic() + self._limits.drain_timeout_s
        connection.give_up_at(deadline + _GOODBYE_S)
        session.stop_taking()
        self._intake.close()
        writer, dead_letters = self._threads
        while writer.is_alive() and time.monotonic() < deadline:
            connection.process(_DRAIN_TICK_S)
        self._dead_letters.close()
        while dead_letters.is_alive() and time.monotonic() < deadline:
            connection.process(_DRAIN_TICK_S)
        # Its channel is closed in order: when the broker confirms, it has every ack.
        session.close()
        self._drop_session()

    def _drop_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.abandon()
            self._pulse.lost()
            self._intake.clear()
            self.tally.settled += session.settled

    def _drop_connection(self) -> None:
        self._drop_session()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _finish(self) -> None:
        """Let the workers end. One that hangs (a frozen database) is left behind: its messages are not acked."""
        self._stop.set()
        self._drop_connection()
        self._intake.close()
        self._dead_letters.close()
        deadline = self._drain_until or time.monotonic() + self._limits.drain_timeout_s
        for worker in self._threads:
            worker.join(max(0.0, deadline - time.monotonic()))
        if self._janitor is not None and self._janitor.is_alive():
            self._janitor.join(_JANITOR_GOODBYE_S)
        if self._has_consumed:
            self._log.say(events.STOPPED, **self.tally.counts())
