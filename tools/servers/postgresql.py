"""A private PostgreSQL server, durable as by default (fsync on), open to every local user. Knows no schema."""

from __future__ import annotations

import glob
import re
import signal
from collections.abc import Sequence
from pathlib import Path

from tools.servers.certificates import Certificates, paths
from tools.servers.process import ServerError, find_program, free_ports, unprivileged_user
from tools.servers.server import Server

PACKAGE = "postgresql"
STOP_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}


def find_postgresql(name: str) -> Path:
    """A program of the newest installed PostgreSQL; Debian keeps the server's off the PATH.

    Raises:
        ServerMissing: it is not installed.
    """
    own = glob.glob("/usr/lib/postgresql/*/bin")
    newest_first = sorted(own, key=lambda path: [int(number) for number in re.findall(r"\d+", path)], reverse=True)
    return find_program([name], map(Path, newest_first), PACKAGE)


class PostgreSQL(Server):
    """A PostgreSQL server with one superuser, ``postgres``, who needs no password on 127.0.0.1.

    Args:
        settings: more of ``postgresql.conf``, as ``{"max_connections": "20"}``.
        tls: has it speak TLS to clients that want it, on the same port.
    """

    name = "PostgreSQL"

    def __init__(self, *, settings: dict[str, str] | None = None, tls: Certificates | None = None) -> None:
        super().__init__(user=unprivileged_user("postgres"))
        (self.port,) = free_ports(1)
        self._settings = settings or {}
        self._tls = tls

    @property
    def url(self) -> str:
        """The database that is always there, ``postgres``."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str) -> str:
        """Create an empty database; returns its URL."""
        self.psql(f'CREATE DATABASE "{name}"')
        return self.url_of(name)

    def drop_database(self, name: str) -> None:
        """Drop a database, ending the sessions that still use it."""
        self.psql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def psql(self, sql: str, database: str = "postgres") -> str:
        """The rows that `sql` gives, one a line, columns separated by ``|``.

        Raises:
            ServerError: a statement failed; the message has the server's.
        """
        options = ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1"]
        return self._run([find_postgresql("psql"), *options, self.url_of(database)], stdin=sql)

    def sessions(self, database: str, *, waiting: bool = False) -> list[int]:
        """The sessions of clients on a database; with `waiting` only those that wait for a lock."""
        condition = "wait_event_type = 'Lock'" if waiting else "backend_type = 'client backend'"
        found = self.psql(f"SELECT pid FROM pg_stat_activity WHERE datname = '{database}' AND {condition}")
        return [int(pid) for pid in found.split()]

    def end_sessions(self, database: str, *, waiting: bool = False) -> None:
        """End these `sessions`, as an administrator does, in whatever they are at."""
        for session in self.sessions(database, waiting=waiting):
            self.psql(f"SELECT pg_terminate_backend({session})")

    def stop(self, mode: str = "fast") -> None:
        """Stop it.

        Args:
            mode: as ``pg_ctl stop`` has it. ``smart`` waits until all sessions have ended, ``fast`` ends them,
                ``immediate`` is a crash that recovers at the next start.
        """
        self._end(STOP_SIGNALS[mode])

    def _create(self) -> None:
        # Without the sync only the empty template would be lost in a power cut; what is committed later is synced.
        options = ["--username=postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8"]
        self._run([find_postgresql("initdb"), *options, self.folder / "data"], user=self._user)

    def _command(self) -> Sequence[object]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            **self._tls_settings(),
            **self._settings,
        }
        flags = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [find_postgresql("postgres"), "-D", self.folder / "data", *flags]

    def _tls_settings(self) -> dict[str, str]:
        if self._tls is None:
            return {}
        self._tls.write(self.folder, self._user)
        ca, cert, key = map(str, paths(self.folder))
        return {"ssl": "on", "ssl_ca_file": ca, "ssl_cert_file": cert, "ssl_key_file": key}

    def _ready(self) -> bool:
        try:
            return self.psql("SELECT 1").strip() == "1"
        except ServerError:
            return False
