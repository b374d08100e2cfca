"""Brings a database to the tables of this version, and tells whether it has them. Safe in several processes at once.

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
from alembic.script import ScriptDirectory

from rpi_health import database, errors
from rpi_health.database_errors import shown, translated
from rpi_health.models import Base, DeviceStatus

#: Of its own: the database may be shared with an application that keeps its revision in `alembic_version`.
VERSION_TABLE = "rpi_health_alembic_version"

#: How long to wait for another process that migrates, and for one that uses a table.
WAIT_FOR_MIGRATION_S = 120
WAIT_FOR_TABLE_S = 30

_ADVISORY_LOCK = int.from_bytes(b"rpi-hlth", "big")
_NOT_INSTALLED = "The migrations are not installed: pip install --force-reinstall rpi-health"
_INIT_DB = "run `rpi-health init-db`"
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
        script = ScriptDirectory.from_config(config)
        before, head = _revision(connection), _head(script)
        _refuse_newer(before, script, connection.engine.url)
        if before != head:
            with _one_at_a_time:
                command.upgrade(config, "head")
        return Result(before, head, config.attributes.get("adopted_rows"))


def downgrade(url: str, revision: str) -> None:
    """Go back to a revision; `base` drops all tables of rpi-health with their rows."""
    with _alone(url) as connection, _one_at_a_time:
        command.downgrade(_config(connection=connection), revision)


def check(target: str | sa.Engine | sa.Connection) -> None:
    """Tell whether the tables are those of this version. Changes and creates nothing.

    Raises:
        SchemaNotCurrent: they are not; the message names the command that mends it.
        DatabaseError: the database cannot be asked.
    """
    if isinstance(target, sa.Connection):
        with translated(target.engine.url):
            _check(target)
        return
    engine = target if isinstance(target, sa.Engine) else database.create_engine(target)
    file = _sqlite_file(engine.url)
    if file is not None and not file.exists():  # to connect would create it
        raise errors.SchemaNotCurrent(f"The database {shown(engine.url)} does not exist yet: {_INIT_DB}")
    try:
        with translated(engine.url), engine.connect() as connection:
            _check(connection)
    finally:
        if engine is not target:
            engine.dispose()


def _check(connection: sa.Connection) -> None:
    script = ScriptDirectory.from_config(_config())
    revision, head = _revision(connection), _head(script)
    if revision == head:
        return
    url = connection.engine.url
    _refuse_newer(revision, script, url)
    if revision is not None:
        problem = f"has the tables of an older version (revision {revision}, this version needs {head}): {_INIT_DB}"
    elif sa.inspect(connection).has_table(DeviceStatus.__tablename__):
        problem = f"has a device_status from before rpi-health: {_INIT_DB}, which keeps its rows"
    else:
        problem = f"has no tables of rpi-health: {_INIT_DB}"
    raise errors.SchemaNotCurrent(f"The database {shown(url)} {problem}")


def _refuse_newer(revision: str | None, script: ScriptDirectory, url: sa.URL) -> None:
    if revision is not None and revision not in {known.revision for known in script.walk_revisions()}:
        problem = f"has the tables of a newer version of rpi-health (revision {revision}): pip install -U rpi-health"
        raise errors.SchemaNotCurrent(f"The database {shown(url)} {problem}")


def _revision(connection: sa.Connection) -> str | None:
    return MigrationContext.configure(connection, opts=CONTEXT_OPTIONS).get_current_revision()


def _head(script: ScriptDirectory) -> str:
    head = script.get_current_head()
    if head is None:
        raise errors.DatabaseMisconfigured(_NOT_INSTALLED)
    return head


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


def _sqlite_file(url: sa.URL) -> Path | None:
    if url.get_backend_name() != "sqlite" or not url.database or url.database.startswith("file:"):
        return None
    return Path(url.database)


def _make_folder(url: sa.URL) -> None:
    file = _sqlite_file(url)
    if file is None:
        return
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        problem = f"its folder cannot be made ({error.strerror}): name a file that this user may write"
        raise errors.DatabaseMisconfigured(f"The database {shown(url)} does not exist, and {problem}") from error
