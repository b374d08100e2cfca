"""Faults of a file: locked, full, read-only, replaced. Messages are held, and stored in the end."""

from __future__ import annotations

import os
import resource
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.command import Cli
from tests.trial import Trial

MESSAGES = 100
#: How long a write waits for a lock: 5 s by default, scaled down.
PATIENCE_S = 0.5


@pytest.fixture
def trial(sqlite_trial: Trial) -> Trial:
    return sqlite_trial


@pytest.fixture
def file(trial: Trial) -> Path:
    return Path(trial.url.partition("///")[2])


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Another program is in the middle of a write."""
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@pytest.mark.parametrize(("for_s", "retried"), [(0.1, False), (1, True), (6, True)], ids=["1 s", "10 s", "60 s"])
def test_file_that_another_program_has_locked_is_waited_for(
    trial: Trial, file: Path, for_s: float, retried: bool
) -> None:
    consumer = trial.start(database_url=f"{trial.url}?timeout={PATIENCE_S}")
    with locked(file):
        trial.publish(MESSAGES)
        time.sleep(for_s)
        assert bool(consumer.events("database_held")) == retried
    trial.finish_held(consumer, retried=retried)


def test_disk_that_is_full_holds_the_messages(trial: Trial, file: Path) -> None:
    consumer = trial.start()
    # No file of this process may grow beyond that: neither the database nor its log of writes.
    limit = resource.RLIMIT_FSIZE
    before = resource.prlimit(consumer.process.pid, limit)
    resource.prlimit(consumer.process.pid, limit, (file.stat().st_size, before[1]))
    trial.publish(20 * MESSAGES)
    consumer.wait_until_held("disk")
    resource.prlimit(consumer.process.pid, limit, before)
    trial.finish_held(consumer)


def test_file_that_may_only_be_read_holds_the_messages_and_says_who_can_mend_it(trial: Trial, file: Path) -> None:
    # By the URL rather than by the file's mode, which does not bind root.
    consumer = trial.consume(database_url=f"sqlite:///file:{file}?mode=ro&uri=true")
    trial.publish(MESSAGES)
    consumer.wait_until_held("who may write it")
    consumer.stop()
    assert trial.finish(trial.consume())["redelivered"] == MESSAGES


def test_file_that_is_replaced_by_its_backup_takes_what_follows(trial: Trial, file: Path) -> None:
    consumer = trial.start()
    backup = file.with_suffix(".backup")
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"VACUUM INTO '{backup}'")
    os.replace(backup, file)
    trial.publish(MESSAGES)
    trial.finish_held(consumer)


def test_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path, cli: Cli) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    blocked.chmod(stat.S_IRUSR)
    done = cli("init-db", env={"RPI_HEALTH_DATABASE_URL": f"sqlite:///{blocked}/fleet.db"})
    assert done.returncode == 5, done.stderr
    assert "name a file that this user may write" in done.stderr
    assert "Traceback" not in done.stderr
