"""Tells whether a database has the tables of this version. Changes and creates nothing.

Knows the number of the newest migration, but not Alembic: to import that takes longer than to read a fleet.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from rpi_health import database, errors
from rpi_health.database_errors import shown, translated
from rpi_health.models import DeviceStatus

#: The migration that arrives at the models, the last in `alembic/versions`. Revisions are in order as text.
REVISION = "0004"

#: Of its own: the database may be shared with an application that keeps its revision in `alembic_version`.
VERSION_TABLE = "rpi_health_alembic_version"

_INIT_DB = "run `rpi-health init-db`"


def check(target: str | sa.Engine | sa.Connection) -> None:
    """Tell whether the tables are those of this version.

    Raises:
        SchemaNotCurrent: they are not; the message names the command that mends it.
        DatabaseError: the database cannot be asked.
    """
    if isinstance(target, sa.Connection):
        with translated(target.engine.url):
            _check(target)
        return
    engine = target if isinstance(target, sa.Engine) else database.create_engine(target)
    file = sqlite_file(engine.url)
    if file is not None and not file.exists():  # to connect would create it
        raise errors.SchemaNotCurrent(f"The database {shown(engine.url)} does not exist yet: {_INIT_DB}")
    try:
        with translated(engine.url), engine.connect() as connection:
            _check(connection)
    finally:
        if engine is not target:
            engine.dispose()


def _check(connection: sa.Connection) -> None:
    revision, url = revision_of(connection), connection.engine.url
    refuse_newer(revision, url)
    if revision == REVISION:
        return
    if revision is not None:
        problem = f"has the tables of an older version (revision {revision}, this version needs {REVISION}): {_INIT_DB}"
    elif sa.inspect(connection).has_table(DeviceStatus.__tablename__):
        problem = f"has a device_status from before rpi-health: {_INIT_DB}, which keeps its rows"
    else:
        problem = f"has no tables of rpi-health: {_INIT_DB}"
    raise errors.SchemaNotCurrent(f"The database {shown(url)} {problem}")


def revision_of(connection: sa.Connection) -> str | None:
    """The revision of the tables that are there; None where rpi-health has made none."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    version: sa.ColumnClause[str] = sa.column("version_num")
    return connection.scalar(sa.select(version).select_from(sa.table(VERSION_TABLE)))


def refuse_newer(revision: str | None, url: sa.URL) -> None:
    """Raise `SchemaNotCurrent` where the tables are those of a newer version."""
    if revision is not None and revision > REVISION:
        problem = f"has the tables of a newer version of rpi-health (revision {revision}): pip install -U rpi-health"
        raise errors.SchemaNotCurrent(f"The database {shown(url)} {problem}")


def sqlite_file(url: sa.URL) -> Path | None:
    """The file of a database that is a file."""
    if url.get_backend_name() != "sqlite" or not url.database or url.database.startswith("file:"):
        return None
    return Path(url.database)
