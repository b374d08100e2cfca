"""What pika raises, in our words. The message says which broker, what happened, and what to do."""

from __future__ import annotations

import re
import socket
from urllib.parse import urlsplit

from pika import exceptions as pika_errors
from pika.adapters.utils.connection_workflow import AMQPConnectorStackTimeout

from rpi_health.broker import handshake
from rpi_health.errors import BrokerError, BrokerRefused, BrokerUnavailable

_CREDENTIALS = "check user and password (RPI_HEALTH_AMQP_USERNAME, RPI_HEALTH_AMQP_PASSWORD or the URL)"
_ACCESS_REFUSED, _NOT_FOUND, _PRECONDITION_FAILED, _NOT_ALLOWED = 403, 404, 406, 530
# RabbitMQ has one code for what only a change helps, and for what may pass: a classic queue on a node of the cluster
# that is down, and as many connections as the virtual host or the user may have.
_MAY_PASS = {_NOT_FOUND: "is down or inaccessible", _NOT_ALLOWED: "connection limit"}
# What pika makes of a connection that ends while it is opened: a guess by how far it had come, which says "probably
# refused" of a lost network, too. The broker's own word, if there was one, is in its text.
_BROKEN_OFF: dict[type[BaseException], str] = {
    pika_errors.IncompatibleProtocolError: "before it said anything in AMQP: do host and port lead to RabbitMQ, "
    "and to its port for amqp:// or for amqps://, as the URL has it?",
    pika_errors.ProbableAuthenticationError: f"while it checked the login: if it does so again, {_CREDENTIALS}.",
    pika_errors.ProbableAccessDeniedError: "while it opened the virtual host: if it does so again, check the path of "
    "RPI_HEALTH_AMQP_URL and the user's permissions on it.",
}
_WORD_OF_BROKER = re.compile(r"ConnectionClosedByBroker: \((\d+)\) (['\"])(.*)\2", re.DOTALL)


def address(url: str) -> str:
    """Host, port and virtual host of an AMQP URL: enough to know the broker by, and no secret."""
    parts = urlsplit(url)
    port = parts.port or (5671 if parts.scheme == "amqps" else 5672)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{host}:{port}{parts.path or '/'}"


def translate(error: BaseException, url: str) -> BrokerError:
    """The `BrokerError` that stands for an exception out of pika or its socket. It carries no password."""
    broker = f"The broker at {address(url)}"
    error = _innermost(error)
    refusal = handshake.refusal(error) or _refusal(error)
    if refusal is not None:
        return BrokerRefused(f"{broker} {refusal}")
    return BrokerUnavailable(f"{broker} {_trouble(error)}")


def _refusal(error: BaseException) -> str | None:
    if isinstance(error, pika_errors.AuthenticationError):
        return f"refused the login: {_CREDENTIALS}."
    if not isinstance(error, (pika_errors.ConnectionClosedByBroker, pika_errors.ChannelClosedByBroker)):
        return None
    code, text = error.reply_code, error.reply_text
    if code in _MAY_PASS and _MAY_PASS[code] in text:
        return None
    if code == _ACCESS_REFUSED and isinstance(error, pika_errors.ConnectionClosedByBroker):
        return f"refused the login: {_CREDENTIALS}."
    if code == _ACCESS_REFUSED:
        return f"refused access: {text}. Give the user the permission, or use another user."
    if code == _NOT_ALLOWED:
        return f"says: {text}. Check the virtual host in RPI_HEALTH_AMQP_URL, and the user's permissions on it."
    if code == _NOT_FOUND:
        return f"says: {text}. Check RPI_HEALTH_QUEUE, or let the user declare queues."
    if code == _PRECONDITION_FAILED:
        return f"says: {text}."
    return None


def _trouble(cause: BaseException) -> str:
    handshake_trouble = handshake.trouble(cause)
    if handshake_trouble is not None:
        return handshake_trouble
    if isinstance(cause, socket.gaierror):
        return f"cannot be found: its name does not resolve ({cause.strerror}). Check RPI_HEALTH_AMQP_URL."
    if isinstance(cause, ConnectionRefusedError):
        return "does not answer: nothing listens there. Is RabbitMQ running, and is RPI_HEALTH_AMQP_URL right?"
    if isinstance(cause, AMQPConnectorStackTimeout):
        return "takes connections but does not answer in AMQP: check host and port, or whether it hangs."
    if isinstance(cause, pika_errors.ConnectionBlockedTimeout):
        return "takes no messages, as with a memory or disk alarm: make room there (`rabbitmq-diagnostics alarms`)."
    if isinstance(cause, (pika_errors.ConnectionClosed, pika_errors.ChannelClosed)):
        return f"ended the connection: {cause.reply_code} {cause.reply_text}."
    if type(cause) in _BROKEN_OFF:
        return f"broke off {_BROKEN_OFF[type(cause)]}"
    return f"was lost or does not answer: {str(cause) or type(cause).__name__}."


def _innermost(error: BaseException) -> BaseException:
    """pika wraps what the socket or the broker said into exceptions that hold it as an argument, attribute or text."""
    wrapped = (getattr(error, "exception", None), *getattr(error, "exceptions", ())[-1:], *error.args)
    inner = next((each for each in wrapped if isinstance(each, BaseException)), None)
    if inner is not None:
        return _innermost(inner)
    said = _WORD_OF_BROKER.search(str(error)) if type(error) in _BROKEN_OFF else None
    return error if said is None else pika_errors.ConnectionClosedByBroker(int(said[1]), said[3])
