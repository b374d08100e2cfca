"""What an exception out of SQLAlchemy or a driver means: come back later, mend the database, or this data is refused.

Pure: knows the error codes of SQLite, PostgreSQL, MySQL and MariaDB; imports no driver and opens no connection. Error
classes lie (MariaDB reports JSON that no retry mends as an OperationalError), so codes decide, and the driver's class
only where there is no code. What is not known counts as "come back later": to hold a message is always safe.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import sqlalchemy as sa

from rpi_health import errors
from rpi_health.text import clean

_CAUSE_LENGTH = 300


class _Verdict(NamedTuple):
    """What an error means to the caller, what it says of the database, and what mends it."""

    error: type[errors.DatabaseError]
    says: str
    cure: str


_AWAY = _Verdict(errors.DatabaseUnavailable, "does not take this now", "the same may succeed later")
_REFUSED = _Verdict(errors.DataRefused, "refuses this data", "no retry helps, other data is not concerned")
_UNUSABLE = "cannot be used as it is"
_LOGIN = _Verdict(
    errors.DatabaseMisconfigured, _UNUSABLE, "check user, password and database name in RPI_HEALTH_DATABASE_URL"
)
_GRANT = _Verdict(errors.DatabaseMisconfigured, _UNUSABLE, "grant this user what is missing")
_SCHEMA = _Verdict(errors.DatabaseMisconfigured, _UNUSABLE, "run `rpi-health init-db`")
_FILE = _Verdict(
    errors.DatabaseMisconfigured, _UNUSABLE, "check the file of RPI_HEALTH_DATABASE_URL, and who may write it"
)
_OPTION = _Verdict(errors.DatabaseMisconfigured, _UNUSABLE, "correct what follows the ? in RPI_HEALTH_DATABASE_URL")
_DEPENDENT = _Verdict(errors.DatabaseMisconfigured, _UNUSABLE, "drop what depends on the table, or move it elsewhere")
# We fill every column of ours that must not be NULL: it is a column that somebody added, and it refuses every report.
_COLUMN = _Verdict(errors.DatabaseMisconfigured, _UNUSABLE, "give the added column a default, or let it be NULL")
_TLS = _Verdict(
    errors.DatabaseMisconfigured,
    _UNUSABLE,
    "see to the certificates, and to what follows the ? in RPI_HEALTH_DATABASE_URL about them",
)
_CRYPTOGRAPHY = _Verdict(errors.DatabaseMisconfigured, _UNUSABLE, "pip install cryptography")

# SQLSTATE, by its longest prefix. https://www.postgresql.org/docs/current/errcodes-appendix.html
_SQLSTATE = {
    "2B": _DEPENDENT,
    "28": _LOGIN,
    "3D": _LOGIN,
    "3F": _SCHEMA,
    "42": _SCHEMA,
    "42501": _GRANT,
    "21": _REFUSED,
    "22": _REFUSED,
    "23": _REFUSED,
    "23502": _COLUMN,
    "54": _REFUSED,
    "P0001": _REFUSED,  # RAISE EXCEPTION: a trigger has judged the row
}

# A refused connection has no SQLSTATE in psycopg. A server in another language than English ends up as _AWAY.
_POSTGRESQL_CONNECT = re.compile(
    r"password authentication failed|no password supplied|no pg_hba\.conf entry|authentication failed for user"
    r'|(?:database|role) "[^"]*" does not exist|permission denied for database|is not permitted to log in'
)
_BAD_OPTION = re.compile(
    r"connection option|bad value for|invalid sslmode|(?:__init__|Connection|connect)\(\) got an unexpected keyword"
    r"|invalid keyword argument for"
)

# TLS that no retry brings about, as libpq says it and, behind PyMySQL, OpenSSL. A stream that broke off is none of it.
_NO_TLS = re.compile(
    r"certificate verify failed|does not match host name|not support SSL|SSL is required|valid client certificate"
    r"|(?:certificate|key) file|\balert (?:certificate|unknown ca|bad certificate|handshake failure|protocol version)"
    r"|no certificate or crl found|KEY_VALUES_MISMATCH|PEM lib",
)
#: The numbers under which the drivers of MySQL and MariaDB tell of it, and of servers that are away.
_CONNECTING = (2003, 2013, 2026)

# https://mariadb.com/kb/en/mariadb-error-codes/, https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html
_ERRNO: dict[int, _Verdict] = {
    **dict.fromkeys((1044, 1045, 1049, 1130, 1251, 1524, 1698, 1820, 1862, 2049, 2059, 2061, 3118, 3159, 4151), _LOGIN),
    **dict.fromkeys((1142, 1143, 1227, 1370), _GRANT),
    **dict.fromkeys((1050, 1054, 1064, 1136, 1146, 1193, 1305), _SCHEMA),
    **dict.fromkeys((1048, 1364), _COLUMN),
    1451: _DEPENDENT,
    3730: _DEPENDENT,
    # 4025, MariaDB's CHECK on JSON, is an OperationalError; 1153 is a batch beyond max_allowed_packet: halves may fit;
    # 1644 is SIGNAL: a trigger has judged the row.
    **dict.fromkeys((1022, 1062, 1118, 1153, 1264, 1265, 1292, 1300, 1366, 1367, 1406, 1644), _REFUSED),
    **dict.fromkeys((1411, 1690, 3140, 3141, 3157, 3819, 4025), _REFUSED),
}

# sqlite_errorcode exists from Python 3.11 on only.
_SQLITE: tuple[tuple[re.Pattern[str], _Verdict], ...] = (
    (re.compile(r"no such (?:table|column)|has no column|already exists|already another table"), _SCHEMA),
    (re.compile(r"NOT NULL constraint failed"), _COLUMN),
    (re.compile(r"readonly|unable to open|not a database|encrypted|malformed"), _FILE),
)
_REFUSING_CLASSES = frozenset({"IntegrityError", "DataError"})


def translate(error: BaseException, url: sa.URL | None = None) -> errors.DatabaseError:
    """Say in the project's words what an exception means. To be raised `from` the exception.

    Args:
        error: anything that came out of SQLAlchemy or a driver.
        url: the database, as in `engine.url`, to be named in the message; without its password.

    Returns: a `DatabaseUnavailable`, `DatabaseMisconfigured` or `DataRefused` whose message is one line without
        passwords; `error` itself where it is a `DatabaseError` already.
    """
    if isinstance(error, errors.DatabaseError):
        return error
    verdict = _verdict(error)
    database = "The database" if url is None else f"The database {shown(url)}"
    return verdict.error(f"{database} {verdict.says} ({_cause(_root(error), url)}): {verdict.cure}")


@contextmanager
def translated(url: sa.URL | None = None) -> Iterator[None]:
    """Raise what is raised inside as `translate` has it. The project's own errors pass."""
    try:
        yield
    except errors.RpiHealthError:
        raise
    except Exception as error:
        raise translate(error, url) from error


def shown(url: sa.URL) -> str:
    """A database's URL as people may see it: with `***` for the password, without driver and options."""
    return clean(url.set(drivername=url.get_backend_name(), query={}).render_as_string(hide_password=True))


def _root(error: BaseException) -> BaseException:
    """The driver's exception, or Python's own, inside SQLAlchemy's."""
    while isinstance(error, sa.exc.StatementError) and error.orig is not None:
        error = error.orig
    return error


def _verdict(error: BaseException) -> _Verdict:
    if isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated:
        return _AWAY
    cause = _root(error)
    if isinstance(cause, OSError):
        return _TLS if _NO_TLS.search(str(cause)) else _AWAY
    if isinstance(cause, sqlite3.Error):
        return next((verdict for pattern, verdict in _SQLITE if pattern.search(str(cause))), None) or _by_class(cause)
    errno, sqlstate = _errno(cause), _sqlstate(cause)
    if errno in _CONNECTING and _NO_TLS.search(str(cause)):
        return _TLS
    if errno is not None:
        return _ERRNO.get(errno) or _by_class(cause)
    if sqlstate is not None:
        return next((_SQLSTATE[sqlstate[:n]] for n in (5, 2) if sqlstate[:n] in _SQLSTATE), _AWAY)
    return _by_text(cause)


def _errno(cause: BaseException) -> int | None:
    """The number with which the drivers of MySQL and MariaDB begin. PyMySQL's 0 and -1 are its own, and say nothing."""
    number = cause.args[0] if cause.args else None
    return number if type(number) is int and number > 0 else None


def _sqlstate(cause: BaseException) -> str | None:
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    return state if isinstance(state, str) else None


def _by_text(cause: BaseException) -> _Verdict:
    """Without any code: a connection that psycopg could not open, or an error of Python's own."""
    text = str(cause)
    if _NO_TLS.search(text):
        return _TLS
    if _POSTGRESQL_CONNECT.search(text):
        return _LOGIN
    if _BAD_OPTION.search(text):
        return _OPTION
    if isinstance(cause, RuntimeError) and "cryptography" in text:
        return _CRYPTOGRAPHY  # what PyMySQL needs for MySQL 8's passwords without TLS
    return _by_class(cause)


def _by_class(cause: BaseException) -> _Verdict:
    """Where there is no code: by the names that PEP 249 gives to the classes of every driver."""
    names = {each.__name__ for each in type(cause).__mro__}
    if names & _REFUSING_CLASSES or isinstance(cause, (ValueError, OverflowError)):
        return _REFUSED
    return _AWAY


def _cause(cause: BaseException, url: sa.URL | None) -> str:
    """What the driver says, on one line and safe to print."""
    text = str(cause)
    if _errno(cause) is not None and not isinstance(cause, OSError) and len(cause.args) > 1:
        text = f"{cause.args[1]} [{cause.args[0]}]"
    text = " ".join(text.split()) or type(cause).__name__
    if url is not None and url.password:
        text = text.replace(str(url.password), "***")
    return clean(text, _CAUSE_LENGTH)
