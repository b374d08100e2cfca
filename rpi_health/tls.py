"""Which certificates count with the broker: names of files. Reads none; `broker/context.py` does."""

from __future__ import annotations

from typing import NamedTuple


class Tls(NamedTuple):
    """How connections to the broker are secured, as the settings of the same names have it.

    Args:
        ca_file: certificates of the authorities that are trusted (PEM); None: the system's.
        cert_file: a client certificate, with the chain up to its authority (PEM).
        key_file: its key (PEM); None: it is in `cert_file`.
        insecure: whether anybody is taken for the broker.
    """

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    insecure: bool = False
