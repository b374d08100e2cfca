"""The read side: what the database knows of the fleet, as facts. No rich, no writing."""

from __future__ import annotations

import difflib

import sqlalchemy as sa

from rpi_health.database_errors import translated
from rpi_health.device import Device
from rpi_health.errors import UnknownDevice
from rpi_health.models import DeviceStatus
from rpi_health.text import clean

# A wrong id is compared with so many others, whose length differs by so much: half a second's work.
_MOST_COMPARED = 10_000
_LENGTHS = 2
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


def device(engine: sa.Engine, raspberry_id: str) -> Device:
    """One device.

    Raises:
        UnknownDevice: it never reported. The message names ids that are spelled much like this one.
        DatabaseError: the database cannot be read.
    """
    query = sa.select(*_COLUMNS).where(DeviceStatus.raspberry_id == raspberry_id)
    with translated(engine.url), engine.connect() as connection:
        row = connection.execute(query).one_or_none()
        if row is not None:
            return Device(*row)
        near = difflib.get_close_matches(raspberry_id, _ids_of_like_length(connection, len(raspberry_id)), n=3)
    shown = ", ".join(clean(each) for each in near)
    cure = f"Did you mean {shown}?" if near else "`rpi-health status` lists those that did."
    raise UnknownDevice(f"No device {clean(raspberry_id)} has reported. {cure}")


def _ids_of_like_length(connection: sa.Connection, length: int) -> list[str]:
    ids = DeviceStatus.raspberry_id
    near = sa.func.char_length(ids) if connection.dialect.name == "mysql" else sa.func.length(ids)
    query = sa.select(ids).where(near.between(length - _LENGTHS, length + _LENGTHS)).limit(_MOST_COMPARED)
    return list(connection.scalars(query))
