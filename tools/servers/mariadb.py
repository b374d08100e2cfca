"""A private MariaDB server, durable as by default, open to every local user. Knows no schema."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from tools.servers.certificates import Certificates, paths
from tools.servers.process import ServerError, find_program, free_ports, unprivileged_user
from tools.servers.server import Server

PACKAGE = "mariadb-server"


def find_mariadb(*names: str) -> Path:
    """The first of these programs that is installed.

    Raises:
        ServerMissing: none is.
    """
    return find_program(names, [], PACKAGE)


class MariaDB(Server):
    """A MariaDB server whose ``root`` needs no password on 127.0.0.1.

    Args:
        settings: more options of ``mariadbd``, as ``{"max-connections": "20"}``.
        tls: has it speak TLS to clients that want it, on the same port.
    """

    name = "MariaDB"

    def __init__(self, *, settings: dict[str, str] | None = None, tls: Certificates | None = None) -> None:
        super().__init__(user=unprivileged_user("mysql"))
        (self.port,) = free_ports(1)
        self._settings = settings or {}
        self._tls = tls

    @property
    def url(self) -> str:
        """The database that is always there, ``mysql``."""
        return self.url_of("mysql")

    def url_of(self, database: str) -> str:
        return f"mysql://root@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str) -> str:
        """Create an empty database; returns its URL."""
        self.sql(f"CREATE DATABASE `{name}`")
        return self.url_of(name)

    def sql(self, sql: str, database: str = "mysql") -> str:
        """The rows that `sql` gives, one a line, columns separated by tabs.

        Raises:
            ServerError: a statement failed; the message has the server's.
        """
        client = find_mariadb("mariadb", "mysql")
        options = ["--no-defaults", "--batch", "--skip-column-names", "--user=root", f"--socket={self._socket}"]
        return self._run([client, *options, database], stdin=sql)

    def sessions(self, database: str, *, waiting: bool = False) -> list[int]:
        """The sessions of clients on a database; with `waiting` only those that wait for a lock, but for a row's."""
        condition = "state LIKE 'Waiting for % lock'" if waiting else "TRUE"
        processes = "information_schema.processlist"
        found = self.sql(f"SELECT id FROM {processes} WHERE db = '{database}' AND {condition}")
        return [int(session) for session in found.split()]

    def end_sessions(self, database: str, *, waiting: bool = False) -> None:
        """End these `sessions`, as an administrator does, in whatever they are at."""
        for session in self.sessions(database, waiting=waiting):
            with contextlib.suppress(ServerError):  # it has ended by itself
                self.sql(f"KILL {session}")

    @property
    def _socket(self) -> Path:
        return self.folder / "mariadb.sock"

    def _create(self) -> None:
        install = find_mariadb("mariadb-install-db", "mysql_install_db")
        # Else only the system's user `root` would be let in, through the socket alone.
        auth = "--auth-root-authentication-method=normal"
        data = f"--datadir={self.folder / 'data'}"
        self._run([install, "--no-defaults", auth, "--skip-test-db", data], user=self._user)
        grant = "GRANT ALL PRIVILEGES ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;\n"
        (self.folder / "init.sql").write_text(f"CREATE USER IF NOT EXISTS 'root'@'127.0.0.1';\n{grant}")

    def _command(self) -> Sequence[object]:
        settings = {
            "datadir": str(self.folder / "data"),
            "socket": str(self._socket),
            "pid-file": str(self.folder / "mariadb.pid"),
            "init-file": str(self.folder / "init.sql"),
            "bind-address": "127.0.0.1",
            "port": str(self.port),
            "character-set-server": "utf8mb4",  # as the distributions configure it; the server's own default is latin1
            **self._tls_settings(),
            **self._settings,
        }
        flags = [f"--{name}={value}" for name, value in settings.items()]
        return [find_mariadb("mariadbd", "mysqld"), "--no-defaults", "--skip-name-resolve", *flags]

    def _tls_settings(self) -> dict[str, str]:
        if self._tls is None:
            return {}
        self._tls.write(self.folder, self._user)
        ca, cert, key = map(str, paths(self.folder))
        return {"ssl-ca": ca, "ssl-cert": cert, "ssl-key": key}

    def _ready(self) -> bool:
        try:
            return self.sql("SELECT 1").strip() == "1"
        except ServerError:
            return False
