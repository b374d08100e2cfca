"""The read side: what the database knows of the fleet, as facts. No rich, no writing."""

from __future__ import annotations

import difflib
import unicodedata
from typing import Any

import sqlalchemy as sa

from rpi_health.database_errors import translated
from rpi_health.device import Device, Selection
from rpi_health.errors import UnknownDevice
from rpi_health.models import DeviceStatus
from rpi_health.text import clean

# A wrong id is compared with so many others, whose length differs by so much: half a second's work.
_MOST_COMPARED = 10_000
_LENGTHS = 2
_COLUMNS = [DeviceStatus.__table__.c[name] for name in Device.__dataclass_fields__]


# The greatest value first, but for ids.
_SORTS: dict[str, tuple[Any, ...]] = {
    "heard": (DeviceStatus.last_update,),
    "id": (),
    "temp": (DeviceStatus.cpu_temp_celsius,),
    "cpu": (DeviceStatus.cpu_percent,),
    "mem": (DeviceStatus.mem_percent, DeviceStatus.mem_used_bytes),
}


def devices(engine: sa.Engine, selection: Selection) -> list[Device]:
    """The devices of a selection.

    Raises:
        DatabaseError: the database cannot be read.
    """
    query = sa.select(*_COLUMNS).where(*_matching(engine, selection.ids)).order_by(*_order(selection))
    with translated(engine.url), engine.connect() as connection:
        return [Device(*row) for row in connection.execute(query.limit(selection.limit))]


def count(engine: sa.Engine) -> int:
    """How many devices there are.

    Raises:
        DatabaseError: the database cannot be read.
    """
    with translated(engine.url), engine.connect() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(DeviceStatus)) or 0


def _order(selection: Selection) -> list[Any]:
    order: list[Any] = []
    for column in _SORTS[selection.sort]:
        order += [column.is_(None), column.asc() if selection.reverse else column.desc()]
    by_id = DeviceStatus.raspberry_id
    is_backwards = selection.reverse and selection.sort == "id"
    return [*order, by_id.desc() if is_backwards else by_id.asc()]


def _matching(engine: sa.Engine, pattern: str | None) -> list[sa.ColumnElement[bool]]:
    if pattern is None:
        return []
    ids = DeviceStatus.raspberry_id
    if engine.dialect.name == "sqlite":  # whose LIKE takes A for a
        return [ids.op("GLOB", is_comparison=True)(pattern.replace("[", "[[]"))]
    for special in "!%_":
        pattern = pattern.replace(special, "!" + special)
    return [ids.like(pattern.replace("*", "%").replace("?", "_"), escape="!")]


def device(engine: sa.Engine, raspberry_id: str) -> Device:
    """One device, by its id as people type it: blanks around it do not count, and `é` may be two characters.

    Raises:
        UnknownDevice: it never reported. The message names ids that are spelled much like this one.
        DatabaseError: the database cannot be read.
    """
    raspberry_id = unicodedata.normalize("NFC", raspberry_id.strip())
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
    # In characters: LENGTH counts bytes on MySQL and MariaDB, and SQLite has no other.
    near = sa.func.length(ids) if connection.dialect.name == "sqlite" else sa.func.char_length(ids)
    query = sa.select(ids).where(near.between(length - _LENGTHS, length + _LENGTHS)).limit(_MOST_COMPARED)
    return list(connection.scalars(query))
