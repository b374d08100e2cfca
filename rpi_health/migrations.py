"""Brings a database to the tables of this version. Safe in several processes at once.

Knows Alembic, its scripts and how to be alone in a database; the tables themselves are in `alembic/versions`.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext

from rpi_health import database, errors
from rpi_health.database_errors import shown, translated
from rpi_health.models import Base
from rpi_health.schema import REVISION, VERSION_TABLE, refuse_newer, revision_of, sqlite_file

#: How long to wait for another process that migrates, and for one that uses a table.
WAIT_FOR_MIGRATION_S = 120
WAIT_FOR_TABLE_S = 30

_ADVISORY_LOCK = int.from_bytes(b"rpi-hlth", "big")
_NOT_INSTALLED = "The migrations are not installed: pip install --force-reinstall rpi-health"
# Alembic's `alembic.context` is one for the whole process.
_one_at_a_time = threading.Lock()


def _is_ours(name: str | None, kind: str, _parents: object) -> bool:
    return kind != "table" or name in Base.metadata.tables


def _default_differs(
    context: MigrationContext,
    _inspected: object,
    _column: object,
    inspected_default: str | None,
    _default: object,
    rendered_default: str | None,
) -> bool | None:
    """MySQL's `false` is another word for 0. None: as Alembic judges."""
    if context.dialect.name in ("mysql", "mariadb") and (inspected_default, rendered_default) == ("0", "false"):
        return False
    return None


#: For every Alembic context on a database: tables of other applications are none of our business.
CONTEXT_OPTIONS: dict[str, Any] = {
    "target_metadata": Base.metadata,
    "version_table": VERSION_TABLE,
    "include_name": _is_ours,
    "compare_type": True,
    "compare_server_default": _default_differs,
}


@dataclass(frozen=True)
class Result:
    """What `upgrade` did. As text: a sentence for people.

    Args:
        before: the revision that was found; None where there was none.
        after: the revision that the database has now.
        adopted_rows: how many rows of a `device_status` from before rpi-health were kept; None where there was none.
    """

    before: str | None
    after: str
    adopted_rows: int | None = None

    def __str__(self) -> str:
        if self.before == self.after:
            return f"The tables are up to date (revision {self.after})."
        if self.before is not None:
            return f"Upgraded the tables from revision {self.before} to {self.after}."
        if self.adopted_rows is None:
            return f"Created the tables (revision {self.after})."
        rows = "1 row" if self.adopted_rows == 1 else f"{self.adopted_rows} rows"
        return f"Created the tables (revision {self.after}) and kept {rows} of the device_status that was there."


def upgrade(url: str, *, say: Callable[[str], object] | None = None) -> Result:
    """Create or upgrade the tables, and adopt a `device_status` made by the example that rpi-health came from.

    All or nothing on SQLite and PostgreSQL; on MySQL and MariaDB, which commit each CREATE TABLE, a migration that was
    cut off goes on where it was at the next call. The folder of an SQLite file is made where it is missing.

    Args:
        url: the database.
        say: called with a sentence before something that may take long.

    Raises:
        ConfigurationError, DatabaseUnavailable: nothing was changed.
        DatabaseMisconfigured: the database or what is in it stands in the way; the message says what to do.
        SchemaNotCurrent: the tables are those of a newer version.
    """
    with _alone(url) as connection:
        config = _config(connection=connection, say=say or (lambda _sentence: None))
        before = revision_of(connection)
        refuse_newer(before, connection.engine.url)
        if before != REVISION:
            with _one_at_a_time:
                command.upgrade(config, REVISION)
        return Result(before, REVISION, config.attributes.get("adopted_rows"))


def downgrade(url: str, revision: str) -> None:
    """Go back to a revision; `base` drops all tables of rpi-health with their rows."""
    with _alone(url) as connection, _one_at_a_time:
        command.downgrade(_config(connection=connection), revision)


def _config(**attributes: object) -> Config:
    """Alembic's configuration without a file: it must work from any folder, and leave stdout alone."""
    config = Config(stdout=io.StringIO(), attributes=attributes)
    config.set_main_option("script_location", str(_scripts()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _scripts() -> Path:
    """The folder `alembic`: beside the modules where rpi-health is installed, above them in a checkout."""
    package = Path(__file__).resolve().parent
    for folder in (package / "alembic", package.parent / "alembic"):
        if (folder / "env.py").is_file():
            return folder
    raise errors.DatabaseMisconfigured(_NOT_INSTALLED)


@contextmanager
def _alone(url: str) -> Iterator[sa.Connection]:
    """A connection in a transaction that runs beside no other migration of this database."""
    parsed = _patient(database.parse_url(url), url)
    _make_folder(parsed)
    engine = database.create_engine(parsed, writer=True)
    try:
        # SQLite needs no more: a writer's transaction is alone from its BEGIN on.
        with translated(engine.url), engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                _lock_postgresql(connection)
            elif engine.dialect.name != "sqlite":
                _lock_mysql(connection)
            yield connection
    finally:
        engine.dispose()


def _patient(parsed: sa.URL, given: str) -> sa.URL:
    if parsed.get_backend_name() != "sqlite" or "timeout" in sa.make_url(given).query:
        return parsed
    return parsed.update_query_dict({"timeout": str(WAIT_FOR_MIGRATION_S)})


def _lock_postgresql(connection: sa.Connection) -> None:
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{WAIT_FOR_MIGRATION_S}s'")
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{WAIT_FOR_TABLE_S}s'")


def _lock_mysql(connection: sa.Connection) -> None:
    """Take a lock that ends with the session, not with the transaction, which each CREATE TABLE ends."""
    # The server's locks have names of up to 64 characters, in one space for all databases.
    name = hashlib.sha256(f"rpi-health {connection.engine.url.database}".encode()).hexdigest()
    query = sa.select(sa.func.get_lock(name, WAIT_FOR_MIGRATION_S))
    if connection.scalar(query) != 1:
        problem = f"another migration has been running for {WAIT_FOR_MIGRATION_S} s: wait for it, then try again"
        raise errors.DatabaseUnavailable(f"The database {shown(connection.engine.url)} is locked, {problem}")
    connection.exec_driver_sql(f"SET SESSION lock_wait_timeout = {WAIT_FOR_TABLE_S}")


def _make_folder(url: sa.URL) -> None:
    file = sqlite_file(url)
    if file is None:
        return
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        problem = f"its folder cannot be made ({error.strerror}): name a file that this user may write"
        raise errors.DatabaseMisconfigured(f"The database {shown(url)} does not exist, and {problem}") from error
