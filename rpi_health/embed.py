"""Doors for Python programs: run the consumer on this thread, or on one of its own inside a web application.

Nothing heavy is imported until one of the doors is used.
"""

from __future__ import annotations

import atexit
import functools
import os
import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING, Any

from rpi_health import events, shared
from rpi_health.health import Health
from rpi_health.supervisor import Supervisor

if TYPE_CHECKING:
    from rpi_health.config import Config
    from rpi_health.consumer import Consumer

_TICK_S = 0.2
# What closing channel and connection may take, after what is in hand was written.
_CLOSE_S = 5.0

_starting = threading.Lock()
_running: ConsumerHandle | None = None


class ConsumerHandle:
    """A consumer on a thread of its own. Made by `start_consumer_thread`."""

    def __init__(self, consumer: Consumer, drain_timeout_s: float, *, log_failure: bool) -> None:
        self._consumer = consumer
        self._log_failure = log_failure
        self._stop_timeout_s = drain_timeout_s + _CLOSE_S
        self._error: BaseException | None = None
        # A daemon, so that a consumer whose database hangs does not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="rpi-health-consumer", daemon=True)

    def _run(self) -> None:
        try:
            self._consumer.run()
        except BaseException as error:
            self._error = error
            if self._log_failure:
                events.Log(__name__).say(events.CONSUMER_FAILED, error=error)

    def _start(self) -> ConsumerHandle:
        self._thread.start()
        return self

    def stop(self, timeout: float | None = None) -> bool:
        """Take no more messages, write and ack those in hand, and close the connection.

        Args:
            timeout: how long to wait for that, in seconds; as long as the settings allow by default. What is not
                written by then is not acked either: the broker delivers it again.

        Returns: whether the consumer has ended.
        """
        if not self._thread.is_alive():
            return True  # also in a fork, where the consumer's locks and sockets are those of the parent's threads
        self._consumer.stop()
        self.join(self._stop_timeout_s if timeout is None else timeout)
        return not self._thread.is_alive()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the consumer has ended, at most `timeout` seconds."""
        self._thread.join(timeout)

    def is_alive(self) -> bool:
        """Whether the consumer's thread runs."""
        return self._thread.is_alive()

    @property
    def health(self) -> Health:
        """How the consumer is: whether it is live, whether it is ready, and why not. `health.reasons` may be shown."""
        if self._error is not None:
            return Health(not_live=(f"The consumer has ended: {self._error}",))
        return (
            self._consumer.health
            if self._thread.is_alive()
            else Health(not_live=("The consumer does not run in this process.",))
        )

    def is_healthy(self) -> bool:
        """Whether messages are being taken and can be stored, as far as is known."""
        return self.health.is_ready

    @property
    def error(self) -> BaseException | None:
        """What ended the consumer, if it did not end by `stop`."""
        return self._error


def start_consumer_thread(**settings: Any) -> ConsumerHandle:
    """Start the consumer on a thread of its own and return at once.

    It waits for broker and database for as long as it takes, installs no signal handlers, and sets up no logging. Where
    one runs in this process already, that one is returned. It is stopped in good order when the interpreter ends. A
    fork has no consumer until it starts its own.

    Args:
        settings: over environment and config file, by name: `amqp_url`, `database_url`, `queue` …

    Raises:
        ConfigurationError: a setting is missing or wrong.
    """
    global _running
    _install_hooks()
    with _starting:
        if _running is None or not _running.is_alive():
            config = _configured(settings)
            handle = ConsumerHandle(_make(config, patient=True), config.drain_timeout_s, log_failure=True)
            _running = handle._start()
        return _running


@functools.cache
def _install_hooks() -> None:
    atexit.register(_stop_at_exit)
    os.register_at_fork(after_in_child=_forget_parent)


def _stop_at_exit() -> None:
    if _running is not None:
        _running.stop()


def _forget_parent() -> None:
    """Start anew in a fork: its parent's consumer does not run here, and a lock may be held by a thread that does not.

    A web server that forks its workers after it has loaded the application is a case of this.
    """
    global _running, _starting
    _running, _starting = None, threading.Lock()
    shared.received_messages.start_anew()


def rabbit_consumer(**settings: Any) -> None:
    """Run the consumer on this thread until SIGTERM or SIGINT, as `rpi-health consume` does.

    Args:
        settings: as for `start_consumer_thread`.

    Raises:
        ConfigurationError: a setting is missing or wrong.
        BrokerError, DatabaseError: broker or database cannot be used at the start.
    """
    config = _configured(settings)
    run_until_signal(_make(config, patient=False), config.drain_timeout_s)


def run_until_signal(consumer: Consumer, drain_timeout_s: float, supervisor: Supervisor | None = None) -> None:
    """Run a consumer until it ends by itself or a signal asks it to; a second signal ends the process at once.

    Off the main thread, where Python has no signals, it runs until it ends by itself.

    Args:
        supervisor: is told how the consumer is, several times a second.
    """
    supervisor = supervisor or Supervisor(None)
    handle = ConsumerHandle(consumer, drain_timeout_s, log_failure=False)
    with _Signals() as signals:
        handle._start()
        while handle.is_alive() and not signals.received:
            supervisor.tell(handle.health)
            handle.join(_TICK_S)
        supervisor.stopping()
        if signals.received:
            events.Log(__name__).say(events.STOPPING, signal=signals.received)
            handle.stop()
    if handle.error is not None:
        raise handle.error


class _Signals:
    """Notes SIGTERM and SIGINT while it is entered. The handler only sets a name: it may interrupt anything."""

    def __init__(self) -> None:
        self.received: str | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Signals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.received is not None:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.received = signal.Signals(number).name


def _configured(settings: dict[str, Any]) -> Config:
    from rpi_health import config

    return config.load(settings)


def _make(config: Config, *, patient: bool) -> Consumer:
    from rpi_health import app

    shared.received_messages.limit = config.received_messages_limit
    app.bind_sessions(config)
    return app.make_consumer(config, patient=patient, observe=shared.received_messages.extend)
