"""From files with certificates to a TLS context: whom we trust, and what we show of ourselves.

Knows files and Python's ssl, not who is connected to. Files are read whenever a context is made, and not before: they
are renewed while a program runs.
"""

from __future__ import annotations

import ssl

from rpi_health.errors import ConfigurationError
from rpi_health.settings import BY_NAME
from rpi_health.tls import Tls


def make_context(tls: Tls) -> ssl.SSLContext:
    """A context with what is in the files now.

    Raises:
        ConfigurationError: a file cannot be read or used.
    """
    try:
        context = _trusting(tls.ca_file)
        if tls.cert_file is not None:
            _show(context, tls.cert_file, tls.key_file)
    except OSError as error:
        # It was there a moment ago, and OpenSSL does not say which.
        raise ConfigurationError(f"A file with certificates went away while it was read: {error.strerror}") from None
    if tls.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _trusting(ca_file: str | None) -> ssl.SSLContext:
    _check_readable("amqp_ca_file", ca_file)
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        raise _wrong("amqp_ca_file", ca_file, "holds no certificate in PEM") from None


def _show(context: ssl.SSLContext, cert_file: str, key_file: str | None) -> None:
    _check_readable("amqp_cert_file", cert_file)
    _check_readable("amqp_key_file", key_file)
    key = ("amqp_cert_file", cert_file) if key_file is None else ("amqp_key_file", key_file)

    def refuse_to_ask() -> str:  # as OpenSSL does by default, on a terminal that a service has not
        raise _wrong(*key, "is protected by a pass phrase", "give the key without one, readable by this user only")

    try:
        context.load_cert_chain(cert_file, key_file, refuse_to_ask)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise _wrong(*key, "has a key that is not the one of the certificate") from None
        raise _wrong("amqp_cert_file", cert_file, _lack(cert_file, key_file)) from None


def _lack(cert_file: str, key_file: str | None) -> str:
    """What a pair of files that OpenSSL does not take lacks, which it does not say itself."""
    with open(cert_file, "rb") as file:
        if b"-----BEGIN CERTIFICATE-----" not in file.read():
            return "holds no certificate in PEM"
    return "has no key in PEM with it" if key_file is None else f"has no key in PEM with it, in {key_file!r}"


def _check_readable(name: str, path: str | None) -> None:
    """OpenSSL says that something is wrong with some file; this says which, and what."""
    if path is None:
        return
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise _wrong(name, path, f"cannot be read: {error.strerror}") from None


def _wrong(name: str, path: str | None, what: str, cure: str | None = None) -> ConfigurationError:
    setting = BY_NAME[name]
    return ConfigurationError(f"{setting.environment} is {path!r}, which {what}: {cure or 'give ' + setting.right}")
