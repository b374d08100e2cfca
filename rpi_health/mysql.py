"""How PyMySQL connects and reads, where its defaults do not do. Knows no other driver, and makes no engine."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from rpi_health.errors import ConfigurationError


def connect_args(url: sa.URL) -> dict[str, Any]:
    """What an engine gives to PyMySQL; nothing for other drivers.

    Args:
        url: complete, as `database.parse_url` returns it.

    Raises:
        ImportError: PyMySQL is not installed.
        ConfigurationError: a file that the URL names cannot be read.
    """
    if not _is_pymysql(url):
        return {}
    _check_files(url)
    return {**connecting_limits(url), **_password(url), **_converters()}


def _check_files(url: sa.URL) -> None:
    """Its own error says that there is no such file, but not which."""
    for name in ("ssl_ca", "ssl_cert", "ssl_key"):
        path = url.query.get(name)
        try:
            if path is not None:
                open(str(path), "rb").close()
        except OSError as error:
            raise ConfigurationError(
                f"RPI_HEALTH_DATABASE_URL has {name}={path}, which cannot be read: {error.strerror}: "
                "give the path of a PEM file"
            ) from None


def _is_pymysql(url: sa.URL) -> bool:
    return url.drivername.endswith("+pymysql")


def connecting_limits(url: sa.URL) -> dict[str, int]:
    """Its limits, in seconds, on waiting for the server until a connection is set up; none for other drivers.

    Its connect_timeout ends with the TCP handshake, which the kernel of a server that hangs still answers.
    """
    if not _is_pymysql(url):
        return {}
    names = {"read_timeout", "write_timeout"} - set(url.query)
    return dict.fromkeys(names, int(str(url.query["connect_timeout"])))


def _password(url: sa.URL) -> dict[str, bytes]:
    """The password as bytes: text it encodes in Latin-1, unlike the server and every other client."""
    password = url.password or url.query.get("password")
    return {"password": str(password).encode()} if password else {}


def _converters() -> dict[str, Any]:
    """Its own, but for instants: it takes them apart with a regular expression, a tenth of the time of `status`."""
    from pymysql.constants.FIELD_TYPE import DATETIME
    from pymysql.converters import conversions, convert_datetime

    def read(text: str) -> Any:
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            return convert_datetime(text)  # MySQL has instants that Python has not, as of the year 0

    return {"conv": {**conversions, DATETIME: read}}
