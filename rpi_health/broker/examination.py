"""The way to a queue, step by step: from a host's name to the permission to publish. Leaves everything as it was."""

from __future__ import annotations

import contextlib
import socket
import ssl
import uuid
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pika
from pika import exceptions as pika_errors
from pika.adapters.blocking_connection import BlockingChannel

from rpi_health.broker.faults import address, translate
from rpi_health.errors import BrokerError
from rpi_health.finding import BROKEN, OK, WARNING, Finding, Seen, walk
from rpi_health.text import clean

_ACCESS_REFUSED, _NOT_FOUND, _PRECONDITION_FAILED = 403, 404, 406
_CONNECT_TIMEOUT_S = 5.0
#: How long a broker with an alarm may leave a confirm unanswered before we take it for blocked.
_BLOCKED_TIMEOUT_S = 3.0


class Examination:
    """One address of a broker. To be closed.

    Args:
        parameters: how to connect.
        url: the same as the user wrote it, for messages.
    """

    def __init__(self, parameters: pika.URLParameters, url: str) -> None:
        parameters.blocked_connection_timeout = _BLOCKED_TIMEOUT_S
        self._parameters = parameters
        self._url = url
        self._connection: Any = None
        #: How many consume the queue, once that was asked.
        self.consumers = 0

    def way(self) -> Iterator[Finding]:
        """From here to a login. Ends with the first step that is broken."""
        tls = {"TLS": self._shake_hands} if urlsplit(self._url).scheme == "amqps" else {}
        return self._walk({"name": self._resolve, "port": self._reach, **tls, "login": self._log_in})

    def queues(self, queue: str, dead_letter_queue: str) -> Iterator[Finding]:
        """What can be done with the queues, behind a login. Ends with the first step that is broken."""
        return self._walk(
            {
                "queue": lambda: self._look(queue),
                "reading": lambda: self._read(queue),
                "declaring": lambda: self._declare(queue),
                "publishing": self._publish,
                "dead letters": lambda: self._look_at_dead(dead_letter_queue),
            }
        )

    def echo(self, body: bytes) -> bytes:
        """Publish a message to a queue of its own, and take it from there.

        Raises:
            BrokerError: it did not come back.
        """
        try:
            channel = self._connection.channel()
            channel.confirm_delivery()
            queue = channel.queue_declare("", exclusive=True).method.queue
            channel.basic_publish("", queue, body, mandatory=True)
            _, _, returned = channel.basic_get(queue, auto_ack=True)
            channel.queue_delete(queue)
        except Exception as error:
            raise translate(error, self._url) from error
        if returned is None:
            raise BrokerError(f"The broker at {address(self._url)} confirmed a message, and then had none.")
        return bytes(returned)

    def close(self) -> None:
        """Close the connection. Never raises."""
        if self._connection is not None:
            with contextlib.suppress(Exception):
                self._connection.close()

    def _walk(self, steps: dict[str, Callable[[], Seen | None]]) -> Iterator[Finding]:
        area = f"broker {address(self._url)}"
        return walk(area, steps, BrokerError.exit_status, lambda error: translate(error, self._url))

    def _resolve(self) -> Seen:
        found = socket.getaddrinfo(self._parameters.host, self._parameters.port, type=socket.SOCK_STREAM)
        return Seen(OK, ", ".join(dict.fromkeys(str(where[0]) for *_, where in found)))

    def _reach(self) -> Seen:
        where = (self._parameters.host, self._parameters.port)
        with socket.create_connection(where, _CONNECT_TIMEOUT_S):
            return Seen(OK, f"{where[1]} takes connections")

    def _shake_hands(self) -> Seen:
        options: Any = self._parameters.ssl_options
        where = (self._parameters.host, self._parameters.port)
        with (
            socket.create_connection(where, _CONNECT_TIMEOUT_S) as plain,
            options.context.wrap_socket(plain, server_hostname=options.server_hostname or where[0]) as secured,
        ):
            says = f"{secured.version()}, {(secured.cipher() or ('no cipher',))[0]}"
            if options.context.verify_mode == ssl.CERT_NONE:
                return Seen(WARNING, f"{says}, with anybody: nobody checks the certificate (tls_insecure)")
            return Seen(OK, says)

    def _log_in(self) -> Seen:
        self._connection = pika.BlockingConnection(self._parameters)
        # Private to pika's blocking one, and the only way to what the broker says of itself.
        told = self._connection._impl.server_properties or {}
        product, version = (clean(str(told.get(key, ""))) for key in ("product", "version"))
        credentials: Any = self._parameters.credentials
        user = clean(credentials.username)
        virtual_host = clean(self._parameters.virtual_host)
        return Seen(OK, f"as {user} on virtual host {virtual_host}, {product} {version}".rstrip())

    def _look(self, queue: str) -> Seen:
        found = self._passively_declared(queue)
        if found is None:
            refused = self._refusal_to_make(queue)
            return refused or Seen(
                WARNING, f"{queue} is missing: `rpi-health consume` makes it, and so does a producer"
            )
        waiting, self.consumers = found.message_count, found.consumer_count
        waits = _counted(waiting, "message waits", "messages wait")
        says = f"{queue}, {waits}, {_counted(self.consumers, 'consumer')}"
        if waiting and not self.consumers:
            return Seen(WARNING, f"{says}: run `rpi-health consume`, which takes them")
        return Seen(OK, says)

    def _read(self, queue: str) -> Seen | None:
        """Consume in a way that no broker takes: what it says first is whether the user may."""
        wrong = {"x-priority": "no number"}
        code, text = self._refusal(lambda channel: channel.basic_consume(queue, _ignore, arguments=wrong))
        if code == _NOT_FOUND:
            return None
        if code == _ACCESS_REFUSED:
            return Seen(BROKEN, f"{text}: give the user the permission to read {queue}")
        return Seen(OK, "permitted")

    def _declare(self, queue: str) -> Seen | None:
        """Declare it as producers do, if it is there: then that changes nothing."""
        if self._passively_declared(queue) is None:
            return None
        code, text = self._refusal(lambda channel: channel.queue_declare(queue, durable=True))
        if code == _PRECONDITION_FAILED:
            return Seen(
                WARNING,
                f"producers that declare {queue} as durable and without arguments are refused (406 {text}): have them "
                "declare it as it is, or not at all; rpi-health takes it as it is",
            )
        if code == _ACCESS_REFUSED:
            return Seen(OK, "not permitted, and not needed: the queue is there")
        return Seen(OK, "permitted, as producers do it: durable and without arguments")

    def _publish(self) -> Seen:
        """Publish to a queue that is not there: the broker gives it back, if the user may and if there is no alarm."""

        def publish(channel: BlockingChannel) -> None:
            channel.confirm_delivery()
            with contextlib.suppress(pika_errors.UnroutableError):
                channel.basic_publish("", f"rpi-health-doctor-{uuid.uuid4().hex}", b"", mandatory=True)

        code, text = self._refusal(publish)
        if code == _ACCESS_REFUSED:
            return Seen(BROKEN, f"{text}: give the user the permission to write to amq.default, for dead letters")
        return Seen(OK, "permitted, and no alarm")

    def _look_at_dead(self, queue: str) -> Seen:
        found = self._passively_declared(queue)
        if found is None:
            refused = self._refusal_to_make(queue)
            return refused or Seen(OK, f"{queue} is made for the first message that is no health check")
        if found.message_count:
            count = _counted(found.message_count, "message")
            return Seen(WARNING, f"{count} in {queue}, no health checks: see `rpi-health dead list`")
        return Seen(OK, f"none in {queue}")

    def _refusal_to_make(self, queue: str) -> Seen | None:
        """Declare a queue in a way that no broker takes: what it says first is whether the user may. None: yes."""
        wrong = {"x-max-length": -1}
        code, text = self._refusal(lambda channel: channel.queue_declare(queue, durable=True, arguments=wrong))
        if code == _ACCESS_REFUSED:
            return Seen(
                BROKEN, f"{queue} is missing, and {text}: make it, or give the user the permission to configure it"
            )
        return None

    def _passively_declared(self, queue: str) -> Any:
        """What the broker tells of a queue; None where it is missing."""
        channel = self._connection.channel()
        try:
            return channel.queue_declare(queue, passive=True).method
        except pika_errors.ChannelClosedByBroker as error:
            if error.reply_code != _NOT_FOUND:
                raise
            return None

    def _refusal(self, step: Callable[[BlockingChannel], object]) -> tuple[int, str]:
        """Do a step on a channel of its own. Returns the code and the text with which the broker closed it, or 0."""
        channel = self._connection.channel()
        try:
            step(channel)
        except pika_errors.ChannelClosedByBroker as error:
            return error.reply_code, clean(error.reply_text)
        channel.close()
        return 0, ""


def _ignore(*_: object) -> None:
    """It never comes to a delivery."""


def _counted(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"
