"""The broker as the settings describe it: one or several addresses of one cluster, and the queues on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import pika

from rpi_health import errors
from rpi_health.broker import wire
from rpi_health.broker.connection import Connection
from rpi_health.broker.dead_queue import DeadQueue
from rpi_health.broker.examination import Examination
from rpi_health.broker.faults import address
from rpi_health.broker.parameters import make_parameters
from rpi_health.broker.publisher import Outcome, Outgoing, Publication
from rpi_health.tls import Tls

_T = TypeVar("_T")
_NO_TLS = Tls()
# A publisher that the broker blocks (memory or disk alarm) gives up after this long, and tries again later.
_BLOCKED_TIMEOUT_S = 10


class Broker:
    """Opens connections, to the addresses in turn.

    Args:
        urls: AMQP URLs with credentials, each of the same cluster.
        queue_type: `classic` or `quorum`: what a queue that is missing is declared as.
        tls: certificates, for addresses that begin with amqps://.

    Raises:
        ConfigurationError: an address or a certificate cannot be used.
    """

    def __init__(self, urls: Sequence[str], queue_type: str = "classic", tls: Tls = _NO_TLS) -> None:
        self._urls = tuple(urls)
        self._tls = tls
        self._next = 0
        for url in self._urls:
            make_parameters(url, tls)  # now, where what is wrong with it ends the program
        # Producers declare the classic queue with no arguments; any argument would give them 406 PRECONDITION_FAILED.
        self._queue_arguments = {"x-queue-type": "quorum"} if queue_type == "quorum" else None

    def connect(self) -> Connection:
        """Open a connection for consuming, trying each address once, from the one after the last that was used.

        Raises:
            BrokerRefused: every address answered with a no.
            BrokerUnavailable: none could be used, and at least one did not answer.
        """
        return self._first_that_works(lambda url: Connection(self._parameters(url), url, self._queue_arguments))

    def dead_letters(self, queue: str) -> DeadQueue:
        """Open the dead-letter queue to look through it. To be closed. Raises as `connect` does."""
        return self._first_that_works(lambda url: DeadQueue(self._parameters(url), url, queue))

    def examinations(self) -> list[Examination]:
        """One for each address."""
        wire.guard_decoder()
        return [Examination(self._parameters(url), url) for url in self._urls]

    def publish(
        self,
        queue: str,
        messages: Iterable[Outgoing],
        *,
        per_second: float | None = None,
        on_confirmed: Callable[[int], None] | None = None,
    ) -> Outcome:
        """Publish to one queue through the default exchange, mandatory and persistent, and wait for the confirms.

        The queue is declared where it is missing. The connection is this call's own: a memory or disk alarm at the
        broker stops connections that publish, acks included.

        Args:
            queue: where to.
            messages: consumed lazily.
            per_second: at most so many messages a second.
            on_confirmed: called with how many more messages were confirmed.

        Raises:
            BrokerRefused, BrokerUnavailable: no address could be connected to; nothing was published.
        """

        def attempt(url: str) -> Outcome:
            parameters = self._parameters(url)
            parameters.blocked_connection_timeout = _BLOCKED_TIMEOUT_S
            publication = Publication(queue, self._queue_arguments, messages, per_second, on_confirmed)
            return publication.run(parameters, url)

        return self._first_that_works(attempt)

    def _parameters(self, url: str) -> pika.URLParameters:
        try:
            return make_parameters(url, self._tls)
        except errors.ConfigurationError as error:
            # They could be used at the start: somebody renews the files of a certificate, one after the other.
            raise errors.BrokerUnavailable(f"The broker at {address(url)} cannot be connected to: {error}.") from error

    def _first_that_works(self, attempt: Callable[[str], _T]) -> _T:
        wire.guard_decoder()
        failures: list[errors.BrokerError] = []
        for _ in self._urls:
            url = self._urls[self._next]
            self._next = (self._next + 1) % len(self._urls)
            try:
                return attempt(url)
            except errors.BrokerError as error:
                failures.append(error)
        # One address that may come back is reason enough to try again.
        raise next((f for f in failures if isinstance(f, errors.BrokerUnavailable)), failures[0])
