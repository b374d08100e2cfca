"""How errors of databases are classified, and what the messages say. The errors here are made up: see
`tests/integration/test_real_database_errors.py` for those of real servers.
"""

from __future__ import annotations

import sqlite3

import pymysql
import pytest
import sqlalchemy as sa

from rpi_health.database_errors import shown, translate, translated
from rpi_health.errors import (
    ConfigurationError,
    DatabaseError,
    DatabaseMisconfigured,
    DatabaseUnavailable,
    DataRefused,
)

URL = sa.make_url("postgresql+psycopg://pi:s3cret@db.example:5432/fleet?sslpassword=s3cret")


class PostgresError(Exception):
    """As psycopg's: the class does not matter where there is a SQLSTATE."""

    def __init__(self, sqlstate: str | None, text: str = "no") -> None:
        super().__init__(text)
        self.sqlstate = sqlstate


class DataError(PostgresError):
    """PEP 249's name."""


UNAVAILABLE_STATES = (
    *("08000", "08001", "08006", "08P01", "0A000", "25006", "25P02", "25P03", "40001", "40P01", "53000", "53100"),
    *("53200", "53300", "55006", "55P03", "57014", "57P01", "57P02", "57P03", "58000", "58030", "XX000", "99999"),
    *("P0000", "P0002"),
)
MISCONFIGURED_STATES = ("28000", "28P01", "2BP01", "3D000", "3F000", "42501", "42601", "42703", "42883", "42P01")
REFUSED_STATES = ("21000", "22001", "22003", "22021", "22P02", "22P05", "23505", "23514", "54000", "P0001")

UNAVAILABLE_NUMBERS = (
    *(1020, 1021, 1030, 1040, 1041, 1053, 1077, 1079, 1105, 1114, 1158, 1159, 1160, 1161, 1180, 1203, 1205, 1206),
    *(1213, 1226, 1290, 1317, 1792, 1836, 1927, 1969, 2002, 2003, 2005, 2006, 2013, 2014, 2055, 3024, 4031, 9999),
)
MISCONFIGURED_NUMBERS = (1044, 1045, 1049, 1054, 1130, 1142, 1143, 1146, 1227, 1364, 1370, 1451, 1698, 1820, 2059)
REFUSED_NUMBERS = (1022, 1062, 1118, 1153, 1264, 1265, 1292, 1300, 1366, 1406, 1644, 1690, 3140, 3141, 3819, 4025)


def unstorable() -> UnicodeEncodeError:
    with pytest.raises(UnicodeEncodeError) as caught:
        "\ud800".encode()
    return caught.value


def of_sqlite(text: str) -> sqlite3.OperationalError:
    return sqlite3.OperationalError(text)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        *((PostgresError(state), DatabaseUnavailable) for state in UNAVAILABLE_STATES),
        *((PostgresError(state), DatabaseMisconfigured) for state in MISCONFIGURED_STATES),
        *((PostgresError(state), DataRefused) for state in REFUSED_STATES),
        (PostgresError(None, "server closed the connection unexpectedly"), DatabaseUnavailable),
        (PostgresError(None, 'FATAL:  password authentication failed for user "pi"'), DatabaseMisconfigured),
        (PostgresError(None, 'FATAL:  database "fleet" does not exist'), DatabaseMisconfigured),
        (PostgresError(None, 'FATAL:  no pg_hba.conf entry for host "10.0.0.1"'), DatabaseMisconfigured),
        (PostgresError(None, "FATAL:  the database system is starting up"), DatabaseUnavailable),
        (PostgresError(None, 'invalid connection option "timout"'), DatabaseMisconfigured),
        (DataError(None, "PostgreSQL text fields cannot contain NUL (0x00) bytes"), DataRefused),
        *((pymysql.err.OperationalError(n, "no"), DatabaseUnavailable) for n in UNAVAILABLE_NUMBERS),
        *((pymysql.err.OperationalError(n, "no"), DatabaseMisconfigured) for n in MISCONFIGURED_NUMBERS),
        *((pymysql.err.OperationalError(n, "no"), DataRefused) for n in REFUSED_NUMBERS),
        (pymysql.err.DataError(1367, "Illegal value"), DataRefused),
        (pymysql.err.IntegrityError(1761, "Foreign key"), DataRefused),
        (pymysql.err.InterfaceError(0, ""), DatabaseUnavailable),
        (RuntimeError("'cryptography' package is required for caching_sha2_password"), DatabaseMisconfigured),
        *(
            (of_sqlite(text), DatabaseUnavailable)
            for text in (
                "database is locked",
                "database table is locked",
                "database or disk is full",
                "disk I/O error",
                "interrupted",
                "locking protocol",
            )
        ),
        *(
            (of_sqlite(text), DatabaseMisconfigured)
            for text in (
                "attempt to write a readonly database",
                "unable to open database file",
                "no such table: device_status",
                "no such column: extra",
                "table device_status has no column named extra",
            )
        ),
        (sqlite3.DatabaseError("file is not a database"), DatabaseMisconfigured),
        (sqlite3.DatabaseError("database disk image is malformed"), DatabaseMisconfigured),
        (sqlite3.IntegrityError("UNIQUE constraint failed: device_status.raspberry_id"), DataRefused),
        (sqlite3.DataError("string or blob too big"), DataRefused),
        (OverflowError("Python int too large to convert to SQLite INTEGER"), DataRefused),
        (ValueError("A string literal cannot contain NUL (0x00) characters."), DataRefused),
        (unstorable(), DataRefused),
        (ConnectionRefusedError(111, "Connection refused"), DatabaseUnavailable),
        (TimeoutError("timed out"), DatabaseUnavailable),
        (sa.exc.TimeoutError("QueuePool limit of size 5 overflow 10 reached"), DatabaseUnavailable),
        (TypeError("Connection.__init__() got an unexpected keyword argument 'timout'"), DatabaseMisconfigured),
        (KeyError("a bug"), DatabaseUnavailable),
    ],
    ids=str,
)
def test_error_is_classified(error: BaseException, expected: type[DatabaseError]) -> None:
    assert type(translate(error)) is expected
    assert type(translate(sa.exc.StatementError("failed", "INSERT", {}, error))) is expected
    assert type(translate(sa.exc.DBAPIError("INSERT", {}, error))) is expected  # type: ignore[arg-type]


def test_lost_connection_is_no_fault_of_the_data() -> None:
    error = sa.exc.DBAPIError("INSERT", {}, DataError("22001"), connection_invalidated=True)
    assert type(translate(error)) is DatabaseUnavailable


def test_own_error_stays_what_it_is() -> None:
    own = DataRefused("as said before")
    assert translate(own) is own


def test_message_says_what_happened_where_and_what_to_do() -> None:
    error = PostgresError("42P01", 'relation "device_status" does not exist\nLINE 1: SELECT 1')
    assert str(translate(sa.exc.DBAPIError("SELECT", {}, error), URL)) == (
        "The database postgresql://pi:***@db.example:5432/fleet cannot be used as it is "
        '(relation "device_status" does not exist LINE 1: SELECT 1): run `rpi-health init-db`'
    )
    number = pymysql.err.OperationalError(1205, "Lock wait timeout exceeded")
    assert str(translate(number)) == (
        "The database does not take this now (Lock wait timeout exceeded [1205]): the same may succeed later"
    )


def test_message_is_one_safe_line_without_password() -> None:
    error = PostgresError("22001", "\x1b[2J\u202eCONTEXT:\n s3cret " + "x" * 10_000)
    message = str(translate(error, URL))
    assert "s3cret" not in message
    assert message.isprintable()
    assert len(message) < 600


def test_parameters_of_a_statement_are_not_in_the_message() -> None:
    error = sa.exc.DBAPIError("INSERT INTO t VALUES (?)", ("somebody's address",), PostgresError("22001"))
    assert "address" not in str(translate(error, URL))


def test_url_is_shown_without_password_driver_and_options() -> None:
    assert shown(URL) == "postgresql://pi:***@db.example:5432/fleet"
    assert shown(sa.make_url("sqlite:////var/lib/fleet.db?timeout=5")) == "sqlite:////var/lib/fleet.db"


def test_translated_raises_from_what_was_raised() -> None:
    cause = PostgresError("40P01")
    with pytest.raises(DatabaseUnavailable) as caught, translated(URL):
        raise cause
    assert caught.value.__cause__ is cause


def test_translated_lets_own_errors_pass() -> None:
    own = ConfigurationError("no such setting")
    with pytest.raises(ConfigurationError) as caught, translated(URL):
        raise own
    assert caught.value is own
