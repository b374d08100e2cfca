"""Runs the migrations on the connection that `rpi_health.migrations` hands over.

Under a developer's own `alembic` command: on the database of the configuration.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, util

from rpi_health import config, database, migrations


def run(connection: sa.Connection) -> None:
    context.configure(connection=connection, **migrations.CONTEXT_OPTIONS)
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    raise util.CommandError("The first migration looks at the tables that are there: there is no --sql for it.")
if "connection" in context.config.attributes:
    run(context.config.attributes["connection"])
else:
    engine = database.create_engine(config.load().database_url, writer=True)
    with engine.begin() as connection:
        run(connection)
    engine.dispose()
