"""How to connect to one address of a broker: the only place where pika's parameters and their TLS come from."""

from __future__ import annotations

import pika

from rpi_health.broker.context import make_context
from rpi_health.errors import ConfigurationError
from rpi_health.tls import Tls

_ATTEMPT_TIMEOUT_S = 5
_STACK_TIMEOUT_S = 8


def make_parameters(url: str, tls: Tls) -> pika.URLParameters:
    """What pika needs to connect.

    Args:
        url: of the broker, with credentials; may have options of pika, but for `ssl_options`.
        tls: certificates, read anew each time; for amqps:// only.

    Raises:
        ConfigurationError: the URL or a certificate cannot be used.
    """
    try:
        parameters = pika.URLParameters(url)
    except Exception as error:
        # From none: pika evaluates options, and a SyntaxError has its source in its traceback.
        raise ConfigurationError(f"RPI_HEALTH_AMQP_URL cannot be used: {error}") from None
    if parameters.ssl_options is not None:
        # Without a name of its own, pika has the URL's host looked for in the certificate.
        parameters.ssl_options = pika.SSLOptions(make_context(tls))
    parameters.socket_timeout = min(parameters.socket_timeout or _ATTEMPT_TIMEOUT_S, _ATTEMPT_TIMEOUT_S)
    parameters.stack_timeout = min(parameters.stack_timeout or _STACK_TIMEOUT_S, _STACK_TIMEOUT_S)
    parameters.connection_attempts = 1
    parameters.client_properties = {"connection_name": "rpi-health"}
    return parameters
