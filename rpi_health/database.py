"""Engines and sessions for SQLite, PostgreSQL, MySQL and MariaDB, set up so that what is committed is kept.

Knows drivers, connection options and transaction modes; not what is read or written. Nothing happens at import:
`SessionLocal` reads the configuration and makes its engine when it is first called.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import threading
import time
from typing import Any, Callable
from urllib.parse import unquote, urlsplit

import sqlalchemy as sa
from sqlalchemy import orm

from rpi_health import errors, mysql
from rpi_health.database_errors import shown
from rpi_health.models import Base, DeviceHistory, DeviceStatus

__all__ = ["Base", "DeviceHistory", "DeviceStatus", "SessionLocal", "create_engine", "parse_url"]

_URL = "RPI_HEALTH_DATABASE_URL"
_RIGHT = "give sqlite:///FILE, postgresql://USER:PASSWORD@HOST/DATABASE or mysql://USER:PASSWORD@HOST/DATABASE"
_BACKENDS = ("sqlite", "postgresql", "mysql", "mariadb")
_DRIVERS = {
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
}

CONNECT_TIMEOUT_S = 5
LOCK_TIMEOUT_S = 5
# A server that vanished without a word is noticed after 30 + 3 × 10 s, and after 60 s while we send.
_KEEPALIVE_IDLE_S, _KEEPALIVE_INTERVAL_S, _KEEPALIVE_COUNT, _SEND_TIMEOUT_MS = 30, 10, 3, 60_000

_LIBPQ = {
    "connect_timeout": str(CONNECT_TIMEOUT_S),
    "keepalives": "1",
    "keepalives_idle": str(_KEEPALIVE_IDLE_S),
    "keepalives_interval": str(_KEEPALIVE_INTERVAL_S),
    "keepalives_count": str(_KEEPALIVE_COUNT),
    "tcp_user_timeout": str(_SEND_TIMEOUT_MS),
}
_MYSQL = {"charset": "utf8mb4", "connect_timeout": str(CONNECT_TIMEOUT_S)}
#: The drivers that rpi-health can work with, and their options that a URL has unless it says otherwise.
_OPTIONS = {
    "sqlite": {"timeout": str(LOCK_TIMEOUT_S)},
    "sqlite+pysqlite": {"timeout": str(LOCK_TIMEOUT_S)},
    "postgresql+psycopg": _LIBPQ,
    "mysql+pymysql": _MYSQL,
    "mariadb+pymysql": _MYSQL,
    "mysql+mysqldb": _MYSQL,
    "mariadb+mysqldb": _MYSQL,
}

_FILE = "rpi_health_file"  # where a connection notes which file it has opened

# Strict for every table: a value that does not fit is an error, never cut in silence. Times are UTC.
_MYSQL_SESSION = (
    "SET SESSION time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES,STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION'"
)


def parse_url(url: str | sa.URL) -> sa.URL:
    """Read a database URL, and complete it with the driver and the options that rpi-health uses.

    Raises:
        ConfigurationError: it is no URL, of another kind of database, or SQLite in memory.
    """
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        # Neither chained nor quoted: the text may contain the password.
        hint = "special characters in user name and password are written %XX, as %40 for @"
        raise errors.ConfigurationError(f"{_URL} is not a database URL: {_RIGHT}; {hint}") from None
    if _in_memory(parsed):
        reason = "several threads and processes must see one database"
        raise errors.ConfigurationError(f"{_URL} is SQLite in memory, but {reason}: give a file, as sqlite:///FILE")
    parsed = parsed.set(drivername=_DRIVERS.get(parsed.drivername, parsed.drivername))
    if parsed.get_backend_name() not in _BACKENDS:
        raise errors.ConfigurationError(f"{_URL} is {parsed.drivername}://, which is none of its databases: {_RIGHT}")
    options = _OPTIONS.get(parsed.drivername)
    if options is None:
        reason = f"is {parsed.drivername}://, a driver that rpi-health does not work with"
        raise errors.ConfigurationError(f"{_URL} {reason}: write {parsed.get_backend_name()}://")
    if parsed.drivername == "postgresql+psycopg" and "sslrootcert" in parsed.query:
        # By default, libpq does not look at the certificate, and goes on without TLS where the server has none.
        options = {**options, "sslmode": "verify-full"}
    return parsed.update_query_dict({name: value for name, value in options.items() if name not in parsed.query})


def _in_memory(url: sa.URL) -> bool:
    if url.get_backend_name() != "sqlite":
        return False
    database = url.database or ""
    return not database.strip() or ":memory:" in database or url.query.get("mode") == "memory" or database == "file:"


def create_engine(url: str | sa.URL, *, writer: bool = False, must_exist: bool = False) -> sa.Engine:
    """Make an engine. No connection is opened yet, and no folder or file is made.

    Args:
        url: `postgresql://`, `mysql://` and `mariadb://` get a driver; one that is named stays.
        writer: whether its transactions write. On SQLite they then start with BEGIN IMMEDIATE, and raise a
            `DatabaseError` where the file was deleted or replaced since the connection was opened.
        must_exist: whether a writer's connection to an SQLite file that is missing raises `DatabaseMisconfigured`,
            rather than making an empty one.

    Raises:
        ConfigurationError: the URL is not usable.
        DatabaseMisconfigured: the driver is not installed; the message has the command that installs it.
    """
    parsed = parse_url(url)
    backend = parsed.get_backend_name()
    server_options = {"pool_pre_ping": True, "isolation_level": "READ COMMITTED"}
    try:
        # Parameters are what devices sent: they belong neither in a log nor in a traceback.
        engine = sa.create_engine(
            parsed,
            hide_parameters=True,
            connect_args=mysql.connect_args(parsed),
            **({} if backend == "sqlite" else server_options),
        )
    except ImportError as error:
        raise errors.DatabaseMisconfigured(_missing_driver(parsed, error)) from error
    except (sa.exc.ArgumentError, ValueError, TypeError):
        raise errors.ConfigurationError(_unusable(parsed)) from None
    if backend == "sqlite":
        _set_up_sqlite(engine, writer)
        if writer:
            _watch_sqlite_file(engine, must_exist)
    elif backend in ("mysql", "mariadb"):
        _set_up_mysql(engine)
    return engine


def _unusable(url: sa.URL) -> str:
    return f"{_URL} is {url.drivername}:// with options that cannot be used together: {_RIGHT}"


def _missing_driver(url: sa.URL, error: ImportError) -> str:
    if url.drivername in _DRIVERS.values():
        cure = f"pip install 'rpi-health[{url.get_backend_name()}]'"
    else:
        cure = f"install the driver that {url.drivername}:// names, or leave out its name"
    return f"The driver for {shown(url)} cannot be loaded ({' '.join(str(error).split())}): {cure}"


def _set_up_mysql(engine: sa.Engine) -> None:
    limits = mysql.connecting_limits(engine.url)

    @sa.event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: object) -> None:
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.execute(_MYSQL_SESSION)
        # PyMySQL's own socket: it has the option for keepalives on, but no way to say how often.
        _keep_alive(getattr(connection, "_sock", None))
        # From here on a statement may take its time, and keepalives tell whether the server is still there.
        for name in limits:
            if hasattr(connection, f"_{name}"):
                setattr(connection, f"_{name}", None)


def _keep_alive(sock: Any) -> None:
    """Notice a server that vanished, as libpq's options do; without a limit on how long a query may take."""
    if not isinstance(sock, socket.socket) or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    settings = {
        "TCP_KEEPIDLE": _KEEPALIVE_IDLE_S,
        "TCP_KEEPINTVL": _KEEPALIVE_INTERVAL_S,
        "TCP_KEEPCNT": _KEEPALIVE_COUNT,
        "TCP_USER_TIMEOUT": _SEND_TIMEOUT_MS,
    }
    for name, value in settings.items():
        if hasattr(socket, name):  # not on every system
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _set_up_sqlite(engine: sa.Engine, writer: bool) -> None:
    """Take transaction control from the driver, and make each connection durable.

    A deferred transaction that reads and then writes fails at once when another process wrote in between, whatever
    the timeout: a writer takes the lock at the start, and waits for it there.

    `do_begin` rather than a listener to "begin": where a listener raises (the database is locked), SQLAlchemy leaves
    a connection whose next statements run outside any transaction.
    """
    begin = "BEGIN IMMEDIATE" if writer else "BEGIN"

    def do_begin(connection: Any) -> None:
        connection.execute(begin).close()

    dialect: Any = engine.dialect
    dialect.do_begin = do_begin
    timeout_s = float(str(engine.url.query["timeout"]))

    @sa.event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, _record: object) -> None:
        try:
            connection.isolation_level = None
            _use_wal(connection, timeout_s)
            connection.execute("PRAGMA synchronous = FULL").close()  # NORMAL may lose a commit with the power
        except BaseException:
            connection.close()
            raise


def _watch_sqlite_file(engine: sa.Engine, must_exist: bool) -> None:
    """Let nothing be committed to a file that has lost its name, where nobody would ever find it.

    Another one may have the name by then: the connection is given up, and the next one opens what is there.
    """
    file = _sqlite_file(engine.url)
    which = f"The file of the database {shown(engine.url)}"
    missing = f"{which} is missing, deleted or moved away: put it back, or run `rpi-health init-db`"
    replaced = f"{which} was replaced: the same may succeed with the new one"

    @sa.event.listens_for(engine, "do_connect")
    def note_file(_dialect: object, record: sa.pool.ConnectionPoolEntry, _args: object, _options: object) -> None:
        # Before it is opened: if it is replaced in between, the first transaction finds that out.
        record.info[_FILE] = _identity(file)
        if must_exist and record.info[_FILE] is None:
            raise errors.DatabaseMisconfigured(missing)

    begin = engine.dialect.do_begin

    def do_begin(connection: sa.PoolProxiedConnection) -> None:
        found = _identity(file)
        opened = connection.info[_FILE] = connection.info[_FILE] or found  # which it made, if there was none
        if found is None or found != opened:
            _leave_complete(connection)
            raise errors.DatabaseMisconfigured(missing) if found is None else errors.DatabaseUnavailable(replaced)
        begin(connection)

    dialect: Any = engine.dialect
    dialect.do_begin = do_begin


def _sqlite_file(url: sa.URL) -> str:
    """The absolute path of the file that a URL names."""
    database = url.database or ""
    if "uri" in url.query and database.startswith("file:"):
        database = unquote(urlsplit(database).path)
    return os.path.abspath(database)


def _identity(file: str) -> tuple[int, int] | None:
    """What a file keeps when it is moved, and shares with no other; None without a file."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _leave_complete(connection: sa.PoolProxiedConnection) -> None:
    """Move what was committed out of the log, then give the connection up.

    The log is found by its name. To another file that has the name now it would be damage, and the one that was
    moved away would lack what is in it.
    """
    with contextlib.suppress(sqlite3.Error), contextlib.closing(connection.cursor()) as cursor:
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.invalidate()


def _use_wal(connection: sqlite3.Connection, timeout_s: float) -> None:
    """Let readers and a writer work at the same time. Kept in the file: only the first connection changes anything."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").close()
            return
        except sqlite3.OperationalError as error:
            if "readonly" in str(error):
                return  # it can still be read
            # The change takes an exclusive lock, for which SQLite's own timeout does not always wait.
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


class _LazySessionmaker(orm.sessionmaker[orm.Session]):
    """A sessionmaker that binds to the database of the configuration when it is first called without a `bind`."""

    def __init__(self) -> None:
        super().__init__(autoflush=False)
        self._lock = threading.Lock()

    def __call__(self, **options: Any) -> orm.Session:
        if "bind" not in options and not self._is_bound():
            self._bind(_configured_url)
        return super().__call__(**options)

    def _is_bound(self) -> bool:
        return self.kw.get("bind") is not None or "binds" in self.kw

    def bind_once(self, url: str) -> None:
        """Bind to this database, unless it is bound already."""
        self._bind(lambda: url)

    def _bind(self, url: Callable[[], str]) -> None:
        with self._lock:
            if not self._is_bound():
                engine = create_engine(url())
                self.configure(bind=engine)
                # Two processes on one connection would read each other's answers. The parent's stays open.
                os.register_at_fork(after_in_child=lambda: engine.dispose(close=False))


def _configured_url() -> str:
    from rpi_health import config

    return config.load().database_url


#: Sessions on the configured database: `with SessionLocal() as session: …`. Its own engine may be given with
#: `SessionLocal.configure(bind=engine)`.
SessionLocal = _LazySessionmaker()
