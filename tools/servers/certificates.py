"""The certificates that a private server shows, and where it finds them. Makes none."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple


class Certificates(NamedTuple):
    """What a server that speaks TLS needs, each in PEM.

    Args:
        ca: the authorities whose client certificates it takes.
        cert: its own, with the chain.
        key: of its own.
        wants_client: whether it lets in only who shows a certificate (RabbitMQ).
    """

    ca: bytes
    cert: bytes
    key: bytes
    wants_client: bool = False

    def write(self, folder: Path, user: str | None = None) -> None:
        """Put them into a server's folder, under the names that `paths` gives; readable by its user alone."""
        for path, content in zip(paths(folder), (self.ca, self.cert, self.key)):
            path.write_bytes(content)
            path.chmod(0o600)
            if user is not None:
                shutil.chown(path, user)


def paths(folder: Path) -> tuple[Path, Path, Path]:
    """Where `Certificates.write` puts the authorities, the certificate and its key."""
    return folder / "ca.pem", folder / "cert.pem", folder / "key.pem"
