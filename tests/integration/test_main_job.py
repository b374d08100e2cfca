"""The main job, end to end: a Pi's message becomes a row, and nothing is lost. The installed command, real servers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rpi_health.models import DeviceHistory, DeviceStatus
from tests.amqp import Amqp
from tests.command import Cli
from tests.reports import EXAMPLE, count_rows, history, status
from tests.traffic import FIRST_SECOND
from tests.waiting import wait_until

# The producer that is in the field, as its documentation has it.
PRODUCER = """
import pika, json

credentials = pika.PlainCredentials('athavus', '1234')
connection = pika.BlockingConnection(
    pika.ConnectionParameters('localhost', 5672, '/', credentials)
)
channel = connection.channel()
channel.queue_declare(queue='rasp_data', durable=True)

msg = {
  "id": "raspberry-01",
  "wifi_status": "connected",
  "mem_usage": "512 MB",
  "cpu_temp": "48°C",
  "cpu_percent": 12.5,
  "gpio_used_count": 3,
  "spi_buses": ["spi0.0"],
  "i2c_buses": ["i2c-1"],
  "usb_devices_count": 2,
  "net_bytes_sent": 102400,
  "net_bytes_recv": 204800,
  "net_ifaces": [{"name":"wlan0","ip":"192.168.0.10"}]
}

channel.basic_publish(
    exchange='',
    routing_key='rasp_data',
    body=json.dumps(msg),
    properties=pika.BasicProperties(delivery_mode=2)  # persistente
)
print("Mensagem publicada.")
connection.close()
"""


@pytest.fixture
def env(amqp: Amqp, migrated_url: str) -> dict[str, str]:
    return {**amqp.env, "RPI_HEALTH_DATABASE_URL": migrated_url}


def dated(number: int, devices: int = 500) -> dict[str, Any]:
    """Report number so-and-so of a fleet, with a time of its own."""
    return {"id": f"pi-{number % devices:04d}", **EXAMPLE, "timestamp": FIRST_SECOND + number / 1000}


def kill_when(process: subprocess.Popen[str], url: str, stored: int) -> None:
    wait_until(lambda: count_rows(url, DeviceHistory) >= stored, 60, f"{stored} stored reports")
    process.kill()
    process.wait()


def assert_all_stored_once(amqp: Amqp, url: str, count: int, devices: int = 500) -> None:
    assert count_rows(url, DeviceHistory) == count
    assert count_rows(url, DeviceStatus) == min(devices, count)
    assert amqp.counts() == (0, 0)


def finish(process: subprocess.Popen[str], cli: Cli) -> str:
    """Stop a consumer as a service manager does; it must end in good order."""
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0, cli.output(process)
    return cli.output(process)


def test_the_producer_in_the_field_is_understood(amqp: Amqp, env: dict[str, str], migrated_url: str, cli: Cli) -> None:
    producer = PRODUCER.replace("5672", str(amqp.server.port)).replace("rasp_data", amqp.queue)
    for _ in range(2):
        subprocess.run([sys.executable, "-c", producer], check=True, capture_output=True)
        done = cli("consume", "--until-empty", env=env)
        assert done.returncode == 0, done.stderr
        before = status(migrated_url, "raspberry-01")
        assert {key: before[key] for key in EXAMPLE} == EXAMPLE
    first, second = history(migrated_url, "raspberry-01")
    assert before["last_update"] == second["received_at"] > first["received_at"] == before["first_seen"]


def test_second_message_updates_the_row_and_moves_last_update(
    amqp: Amqp, env: dict[str, str], migrated_url: str, cli: Cli
) -> None:
    cli("publish-test", "--id", "raspberry-01", env=env)
    cli("consume", "--until-empty", env=env)
    first = status(migrated_url, "raspberry-01")
    cli("publish-test", "--id", "raspberry-01", "--set", "cpu_percent=99.5", env=env)
    cli("consume", "--until-empty", env=env)
    second = status(migrated_url, "raspberry-01")
    assert (first["cpu_percent"], second["cpu_percent"]) == (12.5, 99.5)
    assert second["last_update"] > first["last_update"]
    assert second["id"] == first["id"]


def test_bad_message_is_dead_lettered_and_its_neighbours_are_stored(
    amqp: Amqp, env: dict[str, str], migrated_url: str, cli: Cli
) -> None:
    amqp.publish([dated(1), b"{not json", dated(2), b'{"cpu_temp": "48"}', dated(3)])
    done = cli("consume", "--until-empty", env=env)
    assert done.returncode == 0, done.stderr
    assert_all_stored_once(amqp, migrated_url, 3)
    dead = amqp.get_all(amqp.dead_letter_queue)
    assert [(properties.headers["x-rpi-health-reason"], body) for properties, body in dead] == [
        ("bad_json", b"{not json"),
        ("missing_device_id", b'{"cpu_temp": "48"}'),
    ]
    for properties, _ in dead:
        assert properties.delivery_mode == 2
        assert properties.headers["x-rpi-health-queue"] == amqp.queue
        assert set(properties.headers) >= {
            f"x-rpi-health-{n}" for n in ("detail", "received-at", "redelivered", "version")
        }


def test_broker_restart_loses_nothing_and_the_consumer_never_exits(amqp: Amqp, postgresql_url: str, cli: Cli) -> None:
    env = {**amqp.env, "RPI_HEALTH_DATABASE_URL": postgresql_url, "RPI_HEALTH_RECONNECT_MAX_DELAY": "1s"}
    cli("init-db", env=env)
    amqp.publish(dated(number) for number in range(20_000))
    consumer = cli.popen("consume", "--log-format", "json", env=env)
    wait_until(lambda: count_rows(postgresql_url, DeviceHistory) > 0, 30, "the first stored report")
    amqp.server.restart()
    wait_until(lambda: count_rows(postgresql_url, DeviceHistory) == 20_000, 60, "all reports to be stored")
    wait_until(lambda: amqp.counts() == (0, 0), 15, "an empty queue")
    assert consumer.poll() is None
    stopped = json.loads(finish(consumer, cli).splitlines()[-1])
    assert stopped["event"] == "stopped"
    assert stopped["sessions"] >= 2, "the restart was not noticed: nothing was proved"
    assert_all_stored_once(amqp, postgresql_url, 20_000)


def test_kill_in_mid_batch_loses_nothing(amqp: Amqp, env: dict[str, str], migrated_url: str, cli: Cli) -> None:
    amqp.publish(dated(number) for number in range(8_000))
    kill_when(cli.popen("consume", env=env), migrated_url, stored=1_000)
    assert count_rows(migrated_url, DeviceHistory) < 8_000, "it was killed too late: nothing was proved"
    wait_until(lambda: amqp.counts()[1] == 0, 15, "the broker to take the messages back")
    done = cli("consume", "--until-empty", "--log-format", "json", env=env)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stderr.splitlines()[-1])["redelivered"] > 0
    assert_all_stored_once(amqp, migrated_url, 8_000)


def test_postgresql_restart_loses_nothing_and_keeps_the_connection_to_the_broker(
    amqp: Amqp, postgresql: Any, postgresql_url: str, cli: Cli
) -> None:
    env = {**amqp.env, "RPI_HEALTH_DATABASE_URL": postgresql_url, "RPI_HEALTH_BATCH_SIZE": "50"}
    cli("init-db", env=env)
    amqp.publish(dated(number) for number in range(20_000))
    consumer = cli.popen("consume", "--log-format", "json", env=env)
    wait_until(lambda: count_rows(postgresql_url, DeviceHistory) > 0, 30, "the first stored report")
    postgresql.restart()
    wait_until(lambda: count_rows(postgresql_url, DeviceHistory) == 20_000, 60, "all reports to be stored")
    stopped = json.loads(finish(consumer, cli).splitlines()[-1])
    assert stopped["database_retries"] >= 1, "the restart was not noticed: nothing was proved"
    assert (stopped["sessions"], stopped["dead_lettered"]) == (1, 0)
    assert_all_stored_once(amqp, postgresql_url, 20_000)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_drains_what_is_in_hand(amqp: Amqp, sqlite_url: str, cli: Cli, number: signal.Signals) -> None:
    env = {**amqp.env, "RPI_HEALTH_DATABASE_URL": sqlite_url, "RPI_HEALTH_BATCH_SIZE": "10"}
    cli("init-db", env=env)
    amqp.publish(dated(number) for number in range(20_000))
    consumer = cli.popen("consume", env=env)
    wait_until(lambda: count_rows(sqlite_url, DeviceHistory) > 100, 30, "some stored reports")
    consumer.send_signal(number)
    assert consumer.wait(20) == 0, cli.output(consumer)
    stored = count_rows(sqlite_url, DeviceHistory)
    assert stored < 20_000, "it was stopped too late: nothing was proved"
    # What was committed was acked, and the rest went back.
    assert amqp.counts() == (20_000 - stored, 0)


def test_max_messages_stops_after_exactly_so_many(amqp: Amqp, sqlite_url: str, cli: Cli) -> None:
    env = {**amqp.env, "RPI_HEALTH_DATABASE_URL": sqlite_url}
    cli("init-db", env=env)
    amqp.publish(dated(number) for number in range(100))
    assert cli("consume", "--max-messages", "30", env=env).returncode == 0
    assert count_rows(sqlite_url, DeviceHistory) == 30
    assert amqp.counts() == (70, 0)


@pytest.fixture
def script(tmp_path: Path) -> Any:
    def run(text: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        path = tmp_path / "app.py"
        path.write_text(text)
        clean = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **env}
        return subprocess.run(
            [sys.executable, path], env=clean, capture_output=True, text=True, timeout=60, check=False
        )

    return run


def test_thread_in_a_script_stores_and_stop_leaves_nothing_unacked(
    amqp: Amqp, env: dict[str, str], migrated_url: str, script: Any
) -> None:
    amqp.publish(dated(number) for number in range(300))
    done = script(
        """
import time
from rpi_health import start_consumer_thread, shared
from rpi_health.database import SessionLocal, DeviceStatus

handle = start_consumer_thread()
assert start_consumer_thread() is handle
deadline = time.monotonic() + 30
while len(shared.received_messages) < 300 and time.monotonic() < deadline:
    time.sleep(0.02)
assert handle.is_healthy()
assert handle.stop(timeout=15)
assert not handle.is_healthy()
print(len(shared.received_messages), shared.received_messages[-1]["id"])
with SessionLocal() as session:
    print(session.query(DeviceStatus).count())
""",
        env,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["300", "pi-0299", "300"]
    assert_all_stored_once(amqp, migrated_url, 300)


def test_blocking_call_runs_until_a_signal(amqp: Amqp, env: dict[str, str], migrated_url: str, tmp_path: Path) -> None:
    amqp.publish(dated(number) for number in range(10))
    clean = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **env}
    program = "from rpi_health import rabbit_consumer\nrabbit_consumer()\nprint('ended')"
    process = subprocess.Popen([sys.executable, "-c", program], env=clean, stdout=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: count_rows(migrated_url, DeviceHistory) == 10, 30, "all reports to be stored")
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20)[0] == "ended\n"
        assert process.returncode == 0
    finally:
        process.kill()
    assert amqp.counts() == (0, 0)
