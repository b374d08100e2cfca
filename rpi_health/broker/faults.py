"""What pika raises, in our words. The message says which broker, what happened, and what to do."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from pika import exceptions as pika_errors
from pika.adapters.utils.connection_workflow import AMQPConnectorStackTimeout

from rpi_health.errors import BrokerError, BrokerRefused, BrokerUnavailable

_CREDENTIALS = "check user and password (RPI_HEALTH_AMQP_USERNAME, RPI_HEALTH_AMQP_PASSWORD or the URL)"
# What RabbitMQ says of a classic queue on a node of the cluster that is down, with the code of a queue that is missing.
_NODE_IS_DOWN = "is down or inaccessible"
_ACCESS_REFUSED, _NOT_FOUND, _PRECONDITION_FAILED, _NOT_ALLOWED = 403, 404, 406, 530


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
    refusal = _refusal(error)
    if refusal is not None:
        return BrokerRefused(f"{broker} {refusal}")
    return BrokerUnavailable(f"{broker} {_trouble(error)}")


def _refusal(error: BaseException) -> str | None:
    if isinstance(error, (pika_errors.AuthenticationError, pika_errors.ProbableAuthenticationError)):
        return f"refused the login: {_CREDENTIALS}."
    if isinstance(error, pika_errors.ProbableAccessDeniedError):
        return "refused the virtual host: check the path of RPI_HEALTH_AMQP_URL and the user's permissions on it."
    if isinstance(error, pika_errors.IncompatibleProtocolError):
        return "does not speak AMQP 0-9-1: check host and port of RPI_HEALTH_AMQP_URL."
    if isinstance(error, (pika_errors.ConnectionClosedByBroker, pika_errors.ChannelClosedByBroker)):
        return _refusal_by_code(error.reply_code, error.reply_text)
    return None


def _refusal_by_code(code: int, text: str) -> str | None:
    if code == _ACCESS_REFUSED:
        return f"refused access: {text}. Give the user the permission, or use another user."
    if code == _NOT_ALLOWED:
        return f"says: {text}. Check the virtual host in RPI_HEALTH_AMQP_URL."
    if code == _NOT_FOUND and _NODE_IS_DOWN not in text:
        return f"says: {text}. Check RPI_HEALTH_QUEUE, or let the user declare queues."
    if code == _PRECONDITION_FAILED:
        return f"says: {text}."
    return None


def _trouble(cause: BaseException) -> str:
    if isinstance(cause, socket.gaierror):
        return f"cannot be found: its name does not resolve ({cause.strerror}). Check RPI_HEALTH_AMQP_URL."
    if isinstance(cause, ConnectionRefusedError):
        return "does not answer: nothing listens there. Is RabbitMQ running, and is RPI_HEALTH_AMQP_URL right?"
    if isinstance(cause, AMQPConnectorStackTimeout):
        return "takes connections but does not answer in AMQP: check host and port, or whether it hangs."
    if isinstance(cause, (pika_errors.ConnectionClosed, pika_errors.ChannelClosed)):
        return f"ended the connection: {cause.reply_code} {cause.reply_text}."
    return f"was lost or does not answer: {str(cause) or type(cause).__name__}."


def _innermost(error: BaseException) -> BaseException:
    """pika wraps what the socket said into exceptions that hold it as an argument or attribute."""
    wrapped = (getattr(error, "exception", None), *getattr(error, "exceptions", ())[-1:], *error.args)
    inner = next((each for each in wrapped if isinstance(each, BaseException)), None)
    return error if inner is None else _innermost(inner)
