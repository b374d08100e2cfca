"""`consume --metrics-addr`: what it serves is true, and right by promtool; the installed command, a real broker."""

from __future__ import annotations

import contextlib
import math
import socket
import sqlite3
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from rpi_health import migrations
from rpi_health.database import create_engine
from rpi_health.models import DeviceStatus
from rpi_health.monitor import catalogue, server
from rpi_health.report import Report
from rpi_health.store import Store
from tests import reports
from tests.amqp import Amqp
from tests.command import Cli
from tests.consuming import Consuming
from tests.scrape import SERVE, Served
from tests.waiting import wait_until

NOW = datetime.now(timezone.utc).replace(microsecond=0)


@pytest.fixture
def served(amqp: Amqp, cli: Cli, sqlite_url: str) -> Served:
    return serve(amqp, cli, sqlite_url)


def serve(amqp: Amqp, cli: Cli, url: str, **settings: str) -> Served:
    migrations.upgrade(url)
    own = {f"RPI_HEALTH_{name.upper()}": value for name, value in settings.items()}
    consumer = Consuming(cli, {**amqp.env, "RPI_HEALTH_DATABASE_URL": url, **SERVE, **own})
    consumer.wait_for("consuming")
    return Served(consumer)


def report(raspberry_id: str, at: datetime = NOW, **values: object) -> dict[str, object]:
    return {"id": raspberry_id, "timestamp": at.isoformat(), **values}


def test_metrics_tell_what_became_of_messages(amqp: Amqp, served: Served) -> None:
    late = NOW - timedelta(minutes=5)
    amqp.publish([report("pi-1"), report("pi-2"), report("pi-1", late), "no report", "{", '{"id": ""}'])
    wait_until(lambda: served.value("rpi_health_reports_stored_total") == 3, 30, "three to be stored")
    dead = "rpi_health_messages_dead_lettered_total"
    wait_until(lambda: sum(value for value, _ in served.samples(dead)) == 3, 30, "three to be dead-lettered")
    assert served.value("rpi_health_messages_delivered_total") == 6
    assert served.value("rpi_health_reports_stale_total") == 1
    assert served.value(dead, {"reason": "bad_json"}) == 2
    assert served.value(dead, {"reason": "missing_device_id"}) == 1
    assert served.value("rpi_health_batch_size_messages_sum") == 6
    assert served.value("rpi_health_write_duration_seconds_count") >= 1
    assert served.value("rpi_health_ready") == served.value("rpi_health_live") == 1
    assert abs(served.value("rpi_health_last_commit_timestamp_seconds") - time.time()) < 60
    assert served.value("rpi_health_backlog_messages") == 0


def test_metrics_tell_how_the_fleet_is(amqp: Amqp, cli: Cli, database_url: str) -> None:
    migrations.upgrade(database_url)
    amqp.publish([report("pi-1", cpu_temp="48°C"), report("pi-2", cpu_temp=81, cpu_percent=50), report("pi-3")])
    cli("consume", "--until-empty", env={**amqp.env, "RPI_HEALTH_DATABASE_URL": database_url})
    served = serve(amqp, cli, database_url, metrics_devices="2")
    wait_until(lambda: served.value("rpi_health_fleet_known") == 1, 30, "the fleet to be known")
    counts = {labels["state"]: value for value, labels in served.samples("rpi_health_devices")}
    assert counts == {"online": 3, "late": 0, "offline": 0}
    assert served.value("rpi_health_hot_devices") == 1
    assert served.value("rpi_health_left_out_devices") == 1
    temperatures = served.samples("rpi_health_device_cpu_temperature_celsius")
    assert temperatures == [(48, {"raspberry_id": "pi-1"}), (81, {"raspberry_id": "pi-2"})]
    assert served.samples("rpi_health_device_cpu_usage_ratio") == [(0.5, {"raspberry_id": "pi-2"})]


def test_hostile_ids_change_no_other_line(amqp: Amqp, cli: Cli, sqlite_url: str) -> None:
    ids = ['x"} 1', "back\\slash", "{}", "[red]x", "'; DROP TABLE", "=cmd", "🍓"]
    served = serve(amqp, cli, sqlite_url, metrics_devices="100")
    amqp.publish([report(each, cpu_temp=40) for each in ids])
    wait_until(lambda: served.value("rpi_health_reports_stored_total") == len(ids), 30, "them to be stored")

    def seen() -> set[str]:
        return {its["raspberry_id"] for _, its in served.samples("rpi_health_device_cpu_temperature_celsius")}

    wait_until(lambda: seen() == set(ids), 40, "their series")
    assert all(line.startswith(("#", "rpi_health_", "process_", "python_")) for line in lines_of(served))


def lines_of(served: Served) -> list[str]:
    return served.get("/metrics")[1].splitlines()


def test_promtool_finds_nothing_to_complain_of(amqp: Amqp, cli: Cli, sqlite_url: str) -> None:
    served = serve(amqp, cli, sqlite_url, metrics_devices="10")
    amqp.publish([report("pi-1", cpu_temp=40, cpu_percent=3, mem_usage="45%", net_bytes_sent=1, net_bytes_recv=2)])
    wait_until(lambda: served.value("rpi_health_reports_stored_total") == 1, 30, "it to be stored")
    wait_until(lambda: served.samples("rpi_health_device_up"), 40, "its series")
    text = served.get("/metrics")[1]
    ours = "".join(line + "\n" for line in text.splitlines() if "rpi_health_" in line)
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=ours, text=True, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    names = {line.split()[2] for line in ours.splitlines() if line.startswith("# TYPE ")}
    assert names == {family.name for family in catalogue.FAMILIES}


def test_process_is_told_of_in_the_usual_metrics(served: Served) -> None:
    assert served.value("process_resident_memory_bytes") > 1e6
    assert served.value("rpi_health_build_info") == 1


def test_address_that_is_taken_is_an_error_with_its_cure(amqp: Amqp, cli: Cli, sqlite_url: str) -> None:
    migrations.upgrade(sqlite_url)
    env = {**amqp.env, "RPI_HEALTH_DATABASE_URL": sqlite_url}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = cli("consume", "--metrics-addr", address, env=env)
    assert done.returncode == 3
    assert f"Metrics cannot be served at {address}: Address already in use." in done.stderr
    assert "RPI_HEALTH_METRICS_ADDR" in done.stderr


@pytest.mark.parametrize("address", ["9108", "host", "127.0.0.1:99999", "http://127.0.0.1:9108", "[::1:9108", ""])
def test_address_that_is_none_is_refused(cli: Cli, address: str) -> None:
    done = cli("consume", "--metrics-addr", address)
    assert done.returncode == 3
    assert "give HOST:PORT, such as 127.0.0.1:9108" in done.stderr


def test_nothing_listens_unless_it_is_asked_for(amqp: Amqp, cli: Cli, sqlite_url: str) -> None:
    migrations.upgrade(sqlite_url)
    consumer = Consuming(cli, {**amqp.env, "RPI_HEALTH_DATABASE_URL": sqlite_url})
    consumer.wait_for("consuming")
    assert not consumer.events("serving")
    assert "stale" not in consumer.stop()  # not counted, so not told as none


def test_client_that_says_nothing_keeps_nobody_waiting(served: Served) -> None:
    with connected(served), connected(served) as half:
        half.sendall(b"GET /metr")
        assert served.get("/livez")[0] == 200


def test_client_that_breaks_off_or_says_nothing_leaves_nothing_in_the_log(
    amqp: Amqp, cli: Cli, sqlite_url: str
) -> None:
    migrations.upgrade(sqlite_url)
    consumer = Consuming(cli, {**amqp.env, "RPI_HEALTH_DATABASE_URL": sqlite_url, **SERVE})
    served = Served(consumer)
    with connected(served) as silent, connected(served) as broken:
        silent.sendall(b"GET /metr")
        broken.sendall(b"GET /metr")
        broken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close by RST
        broken.close()
        assert silent.recv(1) == b""  # given up
    consumer.stop()
    assert [line for line in consumer.output.splitlines() if not line.startswith("{")] == []


def test_client_that_reads_nothing_leaves_nothing_in_the_log(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server._Handler, "timeout", 0.2)
    began, over = threading.Event(), threading.Event()

    def large(_environ: object, respond: Callable[..., object]) -> Iterator[bytes]:
        respond("200 OK", [])
        began.set()
        try:
            yield bytes(20_000_000)  # more than all buffers between the two take
        finally:
            over.set()

    large_site: Any = large
    with contextlib.closing(server.Server(("127.0.0.1", 0), large_site)) as serving:
        host, port = serving.address.removeprefix("http://").split(":")
        before = threading.active_count()
        with socket.create_connection((host, int(port)), timeout=30) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert began.wait(30)
            assert over.wait(30)
            wait_until(lambda: threading.active_count() <= before, 30, "it to be given up")
    assert "Traceback" not in capfd.readouterr().err


def test_clients_without_end_take_neither_all_threads_nor_all_descriptors(
    amqp: Amqp, cli: Cli, sqlite_url: str
) -> None:
    migrations.upgrade(sqlite_url)
    consumer = Consuming(cli, {**amqp.env, "RPI_HEALTH_DATABASE_URL": sqlite_url, **SERVE})
    served = Served(consumer)
    consumer.wait_for("consuming")
    before = consumer.resources()
    most = 32 + 8  # and some that the consumer may come to need itself
    with contextlib.ExitStack() as clients:
        for _ in range(300):
            client = clients.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(where(served))
        with pytest.raises(TimeoutError):
            wait_until(lambda: consumer.resources().threads > before.threads + most, 5, "too many threads")
        assert consumer.resources().file_descriptors <= before.file_descriptors + most
    wait_until(lambda: served.get("/livez")[0] == 200, 30, "room for others")


def where(served: Served) -> tuple[str, int]:
    host, port = served.address.removeprefix("http://").split(":")
    return host, int(port)


def connected(served: Served) -> socket.socket:
    return socket.create_connection(where(served), timeout=30)


def test_reports_that_come_late_are_counted(migrated_url: str) -> None:
    engine = create_engine(migrated_url, writer=True)
    store = Store(engine)
    batch = [dated("pi-1", 10), dated("pi-1", 5), dated("pi-1", 10), dated("pi-1", 11), dated("pi-2", 10)]
    assert store.count_stale(batch) == 1
    store.write(batch)
    assert store.count_stale([dated("pi-1", 11), dated("pi-1", 10), dated("pi-2", 9), dated("pi-3", 1)]) == 2
    assert reports.count_rows(migrated_url, DeviceStatus) == 2
    store.close()


def test_row_that_cannot_be_read_is_written_to_all_the_same(amqp: Amqp, cli: Cli, sqlite_url: str) -> None:
    served = serve(amqp, cli, sqlite_url)
    amqp.publish([report("pi-1")])
    wait_until(lambda: served.value("rpi_health_reports_stored_total") == 1, 30, "it to be stored")
    with contextlib.closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as by_hand, by_hand:
        by_hand.execute("UPDATE device_status SET reported_at = '0000-00-00 00:00:00'")
    amqp.publish([report("pi-1", cpu_temp=40)])
    wait_until(lambda: served.value("rpi_health_reports_stored_total") == 2, 30, "it to be stored")


def dated(raspberry_id: str, minute: float) -> Report:
    return reports.report({"id": raspberry_id}, minute=minute)


def test_backlog_is_not_a_number_while_nobody_consumes(amqp: Amqp, cli: Cli, sqlite_url: str, closed_port: int) -> None:
    migrations.upgrade(sqlite_url)
    env = {**amqp.env, "RPI_HEALTH_DATABASE_URL": sqlite_url, **SERVE}
    nowhere = {"RPI_HEALTH_AMQP_URL": f"amqp://127.0.0.1:{closed_port}/%2F", "RPI_HEALTH_STARTUP_TIMEOUT": "60s"}
    served = Served(Consuming(cli, {**env, **nowhere}))
    assert math.isnan(served.value("rpi_health_backlog_messages"))
    status, reasons = served.health("/readyz")
    assert status == 503
    assert "Nothing is consumed" in reasons[0]
    assert served.health("/livez") == (200, [])
