"""Why a connection by TLS did not come to AMQP: what OpenSSL says, in our words, with what mends it.

Codes and reasons tell, texts do not: they change with OpenSSL's version.
"""

from __future__ import annotations

import re
import ssl

from rpi_health.settings import BY_NAME

_CA, _CERT = (BY_NAME[name].environment for name in ("amqp_ca_file", "amqp_cert_file"))
_KEY = BY_NAME["amqp_key_file"].environment
_NOT_YET_VALID = 9

# What OpenSSL finds wrong with a certificate: https://docs.openssl.org/master/man3/X509_STORE_CTX_get_error/
_HAS_EXPIRED = "shows a certificate that has expired: have it renewed at the broker."
_OTHER_NAME = "connect by a name in it, or have one issued for this name (subjectAltName)."
_UNKNOWN = f"shows a certificate of an authority that is not trusted here: give the CA's certificate in {_CA}"
_CERTIFICATE = {
    10: _HAS_EXPIRED,
    18: f"{_UNKNOWN}; it is self-signed, so that is the certificate itself.",
    **dict.fromkeys((2, 19, 20, 21), f"{_UNKNOWN}."),
}
_NAMES = (62, 63, 64)

# What the other side answers to ours: https://www.rfc-editor.org/rfc/rfc8446#section-6
_NONE_SHOWN = f"wants a client certificate: give one in {_CERT}, and its key in {_KEY}."
_ANOTHER = f"give one that is valid, and of an authority that the broker trusts, in {_CERT}."
_ALERTS = {
    "CERTIFICATE_REQUIRED": _NONE_SHOWN,
    # All that TLS 1.2 has for a certificate that is missing.
    "HANDSHAKE_FAILURE": f"takes no TLS connection like this: it may want a client certificate ({_CERT}), "
    "or have no version or cipher in common with this machine.",
    "PROTOCOL_VERSION": "has no version of TLS in common with this machine: have it offer TLS 1.2 or 1.3.",
    **{
        alert: f"refuses the client certificate ({words}): {_ANOTHER}"
        for alert, words in {
            "UNKNOWN_CA": "unknown authority",
            "CERTIFICATE_EXPIRED": "expired",
            "CERTIFICATE_REVOKED": "revoked",
            "CERTIFICATE_UNKNOWN": "not acceptable",
            "UNSUPPORTED_CERTIFICATE": "of an unsupported kind",
            "BAD_CERTIFICATE": "bad",
            "ACCESS_DENIED": "access denied",
        }.items()
    },
}
_NO_TLS = {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST", "UNKNOWN_PROTOCOL"}
_PLAIN = "speaks no TLS there: give its port for amqps://, mostly 5671, or write amqp:// if it has none."
#: What pika makes text of keeps the reason: "[SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca".
_REASON = re.compile(r"\[SSL: ([A-Z0-9_]+)\]")
_ALERT = re.compile(r"ALERT_([A-Z_]+)$")


def refusal(error: BaseException) -> str | None:
    """What stands in the way for good, as the end of a sentence about the broker; None where it is something else."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _wrong_certificate(error)
    reason = _reason(error)
    if reason in _NO_TLS:
        return _PLAIN
    alert = _ALERT.search(reason)
    return _ALERTS.get(alert[1]) if alert else None


def trouble(error: BaseException) -> str | None:
    """The same of what may pass by itself."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "shows a certificate that is not valid yet: set this machine's clock, or have the broker's set."
    if isinstance(error, ssl.SSLError):
        return f"broke off the TLS connection: {_reason(error) or error}."
    return None


def _wrong_certificate(error: ssl.SSLCertVerificationError) -> str | None:
    if error.verify_code == _NOT_YET_VALID:  # a Pi has no clock until it has a network
        return None
    if error.verify_code in _NAMES:
        return f"shows a certificate for another name ({error.verify_message.rstrip('.')}): {_OTHER_NAME}"
    unusable = f"shows a certificate that cannot be accepted ({error.verify_message}): have a proper one issued."
    return _CERTIFICATE.get(error.verify_code, unusable)


def _reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError):
        return str(getattr(error, "reason", None) or "")  # which one that Python has made itself has not
    found = _REASON.search(str(error))
    return found[1] if found else ""
