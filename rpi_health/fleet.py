"""The read side: what the database knows of the fleet, as facts. No rich, no writing."""

from __future__ import annotations

import sqlalchemy as sa

from rpi_health.database_errors import translated
from rpi_health.device import Device
from rpi_health.models import DeviceStatus

_COLUMNS = [DeviceStatus.__table__.c[name] for name in Device.__dataclass_fields__]


def devices(engine: sa.Engine) -> list[Device]:
    """All devices, the one heard of last first.

    Raises:
        DatabaseError: the database cannot be read.
    """
    last_update = DeviceStatus.last_update
    query = sa.select(*_COLUMNS).order_by(last_update.is_(None), last_update.desc(), DeviceStatus.raspberry_id)
    with translated(engine.url), engine.connect() as connection:
        return [Device(*row) for row in connection.execute(query)]
