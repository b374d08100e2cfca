"""Certificates for tests, by trustme: an authority, what it issues to servers and clients, and the files of both."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import trustme

from tools.servers import Certificates

#: The name in the certificates of servers. They are reached by 127.0.0.1, too, which is not in them.
HOST = "localhost"


class Authority:
    """An authority (CA), with files in a folder of its own.

    Args:
        folder: where to; made if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._ca = trustme.CA(key_type=trustme.KeyType.ECDSA)
        self._ca.cert_pem.write_to_path(str(self.ca_file))

    @property
    def ca_file(self) -> Path:
        return self._folder / "ca.pem"

    def server(self, *, from_day: int = -1, to_day: int = 30, wants_client: bool = False) -> Certificates:
        """What a server at `HOST` gets, valid between two days counted from today."""
        issued = self._issue(HOST, from_day, to_day)
        chain = b"".join(each.bytes() for each in issued.cert_chain_pems)
        return Certificates(self._ca.cert_pem.bytes(), chain, issued.private_key_pem.bytes(), wants_client)

    def client(self, name: str = "client", *, from_day: int = -1, to_day: int = 30) -> tuple[Path, Path]:
        """The files with a client certificate, written anew, and with its key."""
        issued = self._issue(name, from_day, to_day)
        cert, key = self._folder / f"{name}.pem", self._folder / f"{name}-key.pem"
        issued.cert_chain_pems[0].write_to_path(str(cert))
        issued.private_key_pem.write_to_path(str(key))
        return cert, key

    def _issue(self, name: str, from_day: int, to_day: int) -> trustme.LeafCert:
        now = datetime.now(timezone.utc)
        return self._ca.issue_cert(
            name, common_name=name, not_before=now + timedelta(from_day), not_after=now + timedelta(to_day)
        )
