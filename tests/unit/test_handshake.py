"""What OpenSSL says, in our words. What real brokers bring about is in tests/integration/test_tls.py."""

from __future__ import annotations

import ssl

import pytest
from pika import exceptions as pika_errors

from rpi_health.broker.faults import translate
from rpi_health.errors import BrokerRefused, BrokerUnavailable

URL = "amqps://user:password@broker.example/%2F"


def tls_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] {reason.lower()} (_ssl.c:1006)")
    error.reason = reason
    return error


def certificate_error(code: int, message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, f"[SSL: CERTIFICATE_VERIFY_FAILED] {message}")
    error.reason, error.verify_code, error.verify_message = "CERTIFICATE_VERIFY_FAILED", code, message
    return error


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (tls_error("WRONG_VERSION_NUMBER"), "speaks no TLS there"),
        (tls_error("RECORD_LAYER_FAILURE"), "speaks no TLS there"),  # the same by OpenSSL 3.2
        (tls_error("SSLV3_ALERT_HANDSHAKE_FAILURE"), "it may want a client certificate (RPI_HEALTH_AMQP_CERT_FILE)"),
        (tls_error("TLSV1_ALERT_PROTOCOL_VERSION"), "no version of TLS in common"),
        (tls_error("SSLV3_ALERT_BAD_CERTIFICATE"), "refuses the client certificate (bad)"),
        (certificate_error(18, "self-signed certificate"), "RPI_HEALTH_AMQP_CA_FILE; it is self-signed"),
        (certificate_error(20, "unable to get local issuer certificate"), "is not trusted here"),
        (certificate_error(62, "Hostname mismatch, certificate is not valid for 'b'."), "(Hostname mismatch, certif"),
        (certificate_error(79, "invalid CA certificate"), "cannot be accepted (invalid CA certificate)"),
    ],
    ids=str,
)
def test_what_only_a_change_mends_is_a_refusal(error: ssl.SSLError, says: str) -> None:
    refusal = translate(error, URL)
    assert isinstance(refusal, BrokerRefused)
    assert str(refusal).startswith("The broker at broker.example:5671/%2F ")
    assert says in str(refusal)


def test_alert_is_found_in_what_pika_makes_of_it() -> None:
    lost = pika_errors.StreamLostError(f"Stream connection lost: {tls_error('TLSV13_ALERT_CERTIFICATE_REQUIRED')!r}")
    refusal = translate(pika_errors.IncompatibleProtocolError(f"not supported: {(repr(lost),)}"), URL)
    assert isinstance(refusal, BrokerRefused)
    assert "wants a client certificate" in str(refusal)


@pytest.mark.parametrize(
    "error",
    [
        tls_error("UNEXPECTED_EOF_WHILE_READING"),
        tls_error("TLSV1_ALERT_INTERNAL_ERROR"),
        certificate_error(9, "certificate is not yet valid"),
        ssl.SSLEOFError(8, "EOF occurred in violation of protocol"),
    ],
    ids=str,
)
def test_what_may_pass_is_none(error: ssl.SSLError) -> None:
    assert type(translate(error, URL)) is BrokerUnavailable
