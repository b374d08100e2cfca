"""The read side: what the database knows of the fleet, as facts. No rich, no writing."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from rpi_health import hearing
from rpi_health.database_errors import translated
from rpi_health.device import HOT_CELSIUS, ROUNDED_CELSIUS, WARM_CELSIUS, Device, Selection
from rpi_health.epoch import EpochSeconds
from rpi_health.errors import UnknownDevice
from rpi_health.hearing import STATES, Rules
from rpi_health.models import ConsumerHearing, ConsumerStatus, DeviceStatus
from rpi_health.presence import Overview, Sighting
from rpi_health.text import clean

# A wrong id is compared with so many others, whose length differs by so much: half a second's work.
_MOST_COMPARED = 10_000
_LENGTHS = 2
_STATUS: sa.Table = DeviceStatus.__table__  # type: ignore[assignment]
_COLUMNS = [_STATUS.c[name] for name in Device.__dataclass_fields__ if name != "state"]
_SIGHTING = [ConsumerStatus.__table__.c[name] for name in Sighting._fields]
_HEATS = (HOT_CELSIUS, WARM_CELSIUS)
#: Of the spans in which the fleet was being heard, so many of the newest are looked at.
_SPANS = 16

# The greatest value first, but for ids.
_SORTS: dict[str, tuple[Any, ...]] = {
    "state": (DeviceStatus.last_update,),
    "heard": (DeviceStatus.last_update,),
    "id": (),
    "temp": (DeviceStatus.cpu_temp_celsius,),
    "cpu": (DeviceStatus.cpu_percent,),
    "mem": (DeviceStatus.mem_percent, DeviceStatus.mem_used_bytes),
}


def look(engine: sa.Engine, selection: Selection, rules: Rules) -> tuple[list[Device], Overview]:
    """The devices of a selection, and the whole fleet in figures.

    Raises:
        DatabaseError: the database cannot be read.
    """
    with translated(engine.url), engine.connect() as connection:
        heard_until, rank = _ranked(connection, rules)
        conditions = _matching(engine, selection.ids)
        if selection.states:
            conditions.append(rank.in_([STATES.index(state) for state in selection.states]))
        query = sa.select(rank, *_COLUMNS).where(*conditions).order_by(*_order(selection, rank))
        found = [_device(row) for row in connection.execute(query.limit(selection.limit))]
        return found, Overview(*_figures(connection, rank), _sightings(connection), heard_until)


def consumers(engine: sa.Engine) -> list[Sighting]:
    """The consumers that were seen, the newest first; those that are gone may be among them. Raises as `look` does."""
    with translated(engine.url), engine.connect() as connection:
        return _sightings(connection)


def _ranked(connection: sa.Connection, rules: Rules) -> tuple[datetime | None, sa.ColumnElement[int]]:
    """When the fleet was being heard last, and how much trouble a device is in, as SQL. See `hearing.rank`."""
    since, until = ConsumerHearing.heard_from, ConsumerHearing.heard_until
    newest = sa.select(since, until).order_by(since.desc()).limit(_SPANS)
    spans = [(start, end) for start, end in connection.execute(newest)]
    last_report = None if spans else connection.scalar(sa.select(sa.func.max(DeviceStatus.last_update)))
    heard = sa.func.coalesce(EpochSeconds(DeviceStatus.last_update), 0)
    interval_s = sa.func.coalesce(DeviceStatus.interval_s, rules.interval_s)
    expression = hearing.rank(heard, interval_s, hearing.hearing(spans, last_report), rules, _case)
    return max((end for _, end in spans), default=None), expression.label("state_rank")


def _case(condition: Any, yes: Any, no: Any) -> sa.Case[Any]:
    return sa.case((condition, yes), else_=no)


def _device(row: Sequence[Any]) -> Device:
    rank, raspberry_id, *values = row
    return Device(raspberry_id, STATES[rank], *values)


def _figures(
    connection: sa.Connection, rank: sa.ColumnElement[int]
) -> tuple[dict[str, int], int, int, datetime | None]:
    """Of the whole fleet: how many are in each state, how many are hot and how many warm, and the last report."""
    devices = sa.select(rank, DeviceStatus.cpu_temp_celsius, DeviceStatus.last_update).subquery()
    state, celsius, heard = devices.c
    hot, warm = (sa.func.count(_case(celsius >= limit - ROUNDED_CELSIUS, 1, None)) for limit in _HEATS)
    query = sa.select(state, sa.func.count(), hot, warm, sa.func.max(heard)).group_by(state)
    found = [tuple(row) for row in connection.execute(query)]
    counts = {STATES[number]: count for number, count, *_ in found}
    hot_ones, not_cool = (sum(row[position] for row in found) for position in (2, 3))
    last_report = max((row[4] for row in found if row[4] is not None), default=None)
    return {state: counts.get(state, 0) for state in STATES}, hot_ones, not_cool - hot_ones, last_report


def _sightings(connection: sa.Connection) -> list[Sighting]:
    query = sa.select(*_SIGHTING).order_by(ConsumerStatus.updated_at.desc())
    return [Sighting(*row) for row in connection.execute(query)]


def _order(selection: Selection, rank: sa.ColumnElement[int]) -> list[Any]:
    order: list[Any] = []
    if selection.sort == "state":
        order.append(rank.asc() if selection.reverse else rank.desc())
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


def device(engine: sa.Engine, typed: str, rules: Rules) -> Device:
    """One device, by its id as people type it. Raises as `find` does."""
    raspberry_id = _as_stored(typed)
    with translated(engine.url), engine.connect() as connection:
        _, rank = _ranked(connection, rules)
        query = sa.select(rank, *_COLUMNS).where(DeviceStatus.raspberry_id == raspberry_id)
        row = connection.execute(query).one_or_none()
        if row is None:
            raise _unknown(connection, raspberry_id)
        return _device(row)


def find(engine: sa.Engine, typed: str) -> str:
    """The id of a device, from what people type: blanks around it do not count, and `é` may be two characters.

    Raises:
        UnknownDevice: it never reported. The message names ids that are spelled much like this one.
        DatabaseError: the database cannot be read.
    """
    raspberry_id, ids = _as_stored(typed), DeviceStatus.raspberry_id
    with translated(engine.url), engine.connect() as connection:
        if connection.scalar(sa.select(ids).where(ids == raspberry_id)) is None:
            raise _unknown(connection, raspberry_id)
        return raspberry_id


def _as_stored(typed: str) -> str:
    return unicodedata.normalize("NFC", typed.strip())


def _unknown(connection: sa.Connection, raspberry_id: str) -> UnknownDevice:
    near = difflib.get_close_matches(raspberry_id, _ids_of_like_length(connection, len(raspberry_id)), n=3)
    shown = ", ".join(clean(each) for each in near)
    cure = f"Did you mean {shown}?" if near else "`rpi-health status` lists those that did."
    return UnknownDevice(f"No device {clean(raspberry_id)} has reported. {cure}")


def _ids_of_like_length(connection: sa.Connection, length: int) -> list[str]:
    ids = DeviceStatus.raspberry_id
    # In characters: LENGTH counts bytes on MySQL and MariaDB, and SQLite has no other.
    near = sa.func.length(ids) if connection.dialect.name == "sqlite" else sa.func.char_length(ids)
    query = sa.select(ids).where(near.between(length - _LENGTHS, length + _LENGTHS)).limit(_MOST_COMPARED)
    return list(connection.scalars(query))
