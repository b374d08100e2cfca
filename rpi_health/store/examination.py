"""The way to a stored row, step by step: from the driver to a report that is written and taken back."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from rpi_health import database, errors, schema
from rpi_health.database_errors import shown, translate
from rpi_health.finding import BROKEN, OK, WARNING, Finding, Seen, walk
from rpi_health.models import DeviceStatus
from rpi_health.report import Report
from rpi_health.store.store import Store

_PRODUCTS = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mysql": "MySQL", "mariadb": "MariaDB"}
#: Of these, several processes do not see the same memory, which SQLite's log needs.
_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "fuse.sshfs"})
_MOUNTS = Path("/proc/self/mounts")
_LITTLE_BYTES = 200_000_000
_LITTLE_TIME = timedelta(seconds=5)
_IMPATIENT = {
    "postgresql": "SET lock_timeout = '5s'",
    **dict.fromkeys(("mysql", "mariadb"), "SET SESSION innodb_lock_wait_timeout = 5, lock_wait_timeout = 5"),
}
#: When this was written: whatever is before it is no time.
_EARLIEST = datetime(2026, 1, 1, tzinfo=timezone.utc)


class Examination:
    """A database. To be closed.

    Args:
        url: as the settings have it.
        report: what is written and taken back.
    """

    def __init__(self, url: str, report: Report) -> None:
        self._url = database.parse_url(url)
        self._report = report
        self._opened: sa.Engine | None = None

    def way(self) -> Iterator[Finding]:
        """From the driver to a row. Ends with the first step that is broken."""
        file = {"file": self._look_at_file} if schema.sqlite_file(self._url) else {}
        steps: dict[str, Callable[[], Seen | None]] = {
            "driver": self._load,
            **file,
            "login": self._log_in,
            "tables": self._check_tables,
            "writing": self._write,
            "clock": self._compare_clocks,
        }
        return walk(f"database {shown(self._url)}", steps, errors.DatabaseError.exit_status, self._translate)

    def rehearse(self, report: Report) -> bool:
        """Write a report and take it back. Returns whether it was there in between. Raises `DatabaseError`."""
        with closing(Store(self.engine)) as store:
            return store.rehearse(report)

    def close(self) -> None:
        """Close the connections."""
        if self._opened is not None:
            self._opened.dispose()

    def _translate(self, error: Exception) -> errors.RpiHealthError:
        return error if isinstance(error, errors.RpiHealthError) else translate(error, self._url)

    @property
    def engine(self) -> sa.Engine:
        """An engine on the database."""
        if self._opened is None:
            self._opened = database.create_engine(self._url, writer=True, must_exist=True)
            sa.event.listen(self._opened, "connect", self._be_impatient)
        return self._opened

    def _be_impatient(self, connection: Any, _record: object) -> None:
        """What another program has locked is an answer, too. SQLite waits no longer by itself."""
        limit = _IMPATIENT.get(self._url.get_backend_name())
        if limit is not None:
            with closing(connection.cursor()) as cursor:
                cursor.execute(limit)

    def _load(self) -> Seen:
        module = self.engine.dialect.dbapi
        version = getattr(module, "__version__", "") or getattr(module, "sqlite_version", "")
        return Seen(OK, f"{self.engine.dialect.driver} {version}".rstrip())

    def _look_at_file(self) -> Seen:
        file = Path(os.path.abspath(str(schema.sqlite_file(self._url))))
        if not file.exists():
            raise errors.SchemaNotCurrent(f"The file {file} does not exist yet: run `rpi-health init-db`")
        kind, free = filesystem(file), shutil.disk_usage(file.parent).free
        says = f"{file}, {free / 1e9:.1f} GB free" + (f" ({kind})" if kind else "")
        if kind in _NETWORK:
            return Seen(
                WARNING, f"{says}: SQLite is not safe on a network's file system: use a local one, or PostgreSQL"
            )
        if free < _LITTLE_BYTES:
            return Seen(WARNING, f"{says}: make room, or have less kept (RPI_HEALTH_RETENTION)")
        return Seen(OK, says)

    def _log_in(self) -> Seen:
        with self.engine.connect() as connection:
            dialect = connection.dialect
            product = "mariadb" if getattr(dialect, "is_mariadb", False) else dialect.name
            version = ".".join(str(part) for part in dialect.server_version_info or () if isinstance(part, int))
            user = f"as {self._url.username}, " if self._url.username else ""
            return Seen(OK, f"{user}{_PRODUCTS[product]} {version}")

    def _check_tables(self) -> Seen:
        schema.check(self.engine)
        return Seen(OK, f"up to date (revision {schema.REVISION})")

    def _write(self) -> Seen:
        if self.rehearse(self._report):
            return Seen(OK, "a report was written, found, and taken back")
        return Seen(BROKEN, "a report was written and is not there: do triggers or rules change device_history?")

    def _compare_clocks(self) -> Seen:
        with self.engine.connect() as connection:
            now = datetime.now(timezone.utc)
            told: Any = connection.scalar(sa.select(sa.func.now()))
            newest = connection.scalar(sa.select(sa.func.max(DeviceStatus.last_update)))
        told = told if told.tzinfo else told.replace(tzinfo=timezone.utc)
        here = f"{now:%Y-%m-%d %H:%M:%S} UTC"
        if now < _EARLIEST:
            return Seen(WARNING, f"{here}: set the clock, or let NTP do so")
        if abs(told - now) > _LITTLE_TIME:
            apart = abs((told - now).total_seconds())
            return Seen(WARNING, f"{here}, {apart:.0f} s from the database server's: let NTP set both")
        if newest is not None and newest > now + _LITTLE_TIME:
            later = (newest - now).total_seconds()
            return Seen(
                WARNING, f"{here}, and a device was heard of {later:.0f} s after that: some clock is or was wrong"
            )
        return Seen(OK, here)


def filesystem(file: Path, mounts: Path = _MOUNTS) -> str | None:
    """The type of the file system that a file is on, as `ext4` or `nfs4`; None where that cannot be told."""
    try:
        lines = [line.split() for line in mounts.read_text(errors="replace").splitlines()]
    except OSError:
        return None
    # The last one of the longest path: what is mounted over another one hides it.
    known = {Path(where.replace("\\040", " ")): kind for _, where, kind, *_ in lines}
    return next((known[folder] for folder in (file, *file.parents) if folder in known), None)
