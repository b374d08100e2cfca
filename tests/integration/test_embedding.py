"""The consumer inside another program: started and stopped often, and across `fork`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rpi_health import migrations
from tests.amqp import Amqp
from tools.servers import PostgreSQL

OFTEN = """
import gc, json, os, time, weakref
from rpi_health import start_consumer_thread

handles, counts = [], []
for _ in range(6):
    handle = start_consumer_thread()
    deadline = time.monotonic() + 30
    while not handle.is_healthy() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert handle.is_healthy() and handle.stop() and handle.error is None
    handles.append(weakref.ref(handle))
    del handle
    gc.collect()
    counts.append(len(os.listdir("/proc/self/fd")))
print(json.dumps({"descriptors": counts, "handles": sum(handle() is not None for handle in handles)}), flush=True)
input()
"""

FORK = """
import json, os, signal, sys, time
from rpi_health import embed, shared, start_consumer_thread

def healthy(handle):
    deadline = time.monotonic() + 30
    while not handle.is_healthy() and time.monotonic() < deadline:
        time.sleep(0.05)
    return handle.is_healthy()

def in_child(work):
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # it may hang, but not for ever
        work()
        sys.exit(0)  # as a worker ends: with the hooks of the interpreter
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

handle = start_consumer_thread()
assert healthy(handle)
session, parent, stop = handle._consumer._session, os.getpid(), handle._consumer.stop
# It would write to the sockets and wait for the locks of the parent's threads.
handle._consumer.stop = lambda: stop() if os.getpid() == parent else os._exit(9)

def only_ends():
    assert not handle.is_alive()
    assert handle.stop()  # an application's own hook may do so

def starts_its_own():
    own = start_consumer_thread()
    assert own is not handle and healthy(own)
    assert start_consumer_thread() is own

def has_received_nothing():
    assert shared.received_messages == []

said = {"ends": in_child(only_ends), "starts": in_child(starts_its_own)}
with embed._starting:  # as another thread of the parent would hold it
    said["starts_beside"] = in_child(starts_its_own)
shared.received_messages.append({"id": "of the parent"})
with shared.received_messages._lock:  # as the parent's consumer would hold it
    said["has_received_nothing"] = in_child(has_received_nothing)
said["parent_has"] = len(shared.received_messages)
said["parent_goes_on"] = handle.is_healthy() and handle._consumer._session is session
said["parent_ends"] = handle.stop() and handle.error is None
print(json.dumps(said))
"""

SESSIONS = """
import os, signal, sys
import sqlalchemy as sa
from rpi_health.database import SessionLocal

def connection():
    with SessionLocal() as session:
        session.execute(sa.text("SELECT 1"))
        return session.connection().connection.driver_connection

before = connection()
assert connection() is before  # of the pool
child = os.fork()
if child == 0:
    signal.alarm(60)
    assert connection() is not before
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert connection() is before  # which still works
"""


def environment(amqp: Amqp, url: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RPI_HEALTH_")}
    return {**inherited, **amqp.env, "RPI_HEALTH_DATABASE_URL": url}


def test_consumers_that_were_started_and_stopped_leave_no_connection_and_no_descriptor(
    amqp: Amqp, postgresql: PostgreSQL, postgresql_url: str, tmp_path: Path
) -> None:
    migrations.upgrade(postgresql_url)
    name = postgresql_url.rsplit("/", 1)[1].split("?")[0]
    with subprocess.Popen(
        [sys.executable, "-c", OFTEN],
        env=environment(amqp, postgresql_url),
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        sessions = postgresql.psql(f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}'")
        process.stdin.write("\n")
    assert process.returncode == 0
    assert sessions.strip() == "0"
    assert said["descriptors"][-1] <= said["descriptors"][0], said
    assert said["handles"] <= 1


def run(program: str, env: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    file = folder / "program.py"
    file.write_text(program)
    done = subprocess.run(
        [sys.executable, file], env=env, cwd=folder, capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.filterwarnings("default")
def test_fork_has_a_consumer_of_its_own_and_leaves_that_of_its_parent_alone(
    amqp: Amqp, migrated_url: str, tmp_path: Path
) -> None:
    done = run(FORK, environment(amqp, migrated_url), tmp_path)
    said: dict[str, Any] = json.loads(done.stdout)
    expected = {"ends": 0, "starts": 0, "starts_beside": 0, "has_received_nothing": 0, "parent_has": 1}
    expected |= {"parent_goes_on": True, "parent_ends": True}
    assert said == expected, done.stderr


def test_fork_does_not_share_connections_of_sessions_with_its_parent(
    amqp: Amqp, migrated_url: str, tmp_path: Path
) -> None:
    run(SESSIONS, environment(amqp, migrated_url), tmp_path)
