"""`doctor` finds what is broken, says what mends it, and leaves everything as it was."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pika
import pytest
import sqlalchemy as sa
import trustme

from rpi_health import migrations
from rpi_health.models import DeviceHistory, DeviceStatus
from rpi_health.store.examination import filesystem
from tests.amqp import SECRET, Amqp
from tests.command import Cli
from tests.consuming import Consuming
from tests.reports import count_rows
from tests.schema import connected, run
from tests.waiting import wait_until
from tools.servers import PostgreSQL

WAY = ["settings", "name", "port", "login", "queue", "reading", "declaring", "publishing", "dead letters"]
ROW = ["driver", "login", "tables", "writing", "clock"]


class Examined(NamedTuple):
    """What `doctor --json` says, by step; of two with one name, the worse."""

    status: int
    steps: list[str]
    verdicts: dict[str, str]
    says: dict[str, str]

    @property
    def wrong(self) -> dict[str, str]:
        return {step: self.says[step] for step, verdict in self.verdicts.items() if verdict != "ok"}


class Doctor:
    """Runs the command on a queue and a database."""

    def __init__(self, cli: Cli, amqp: Amqp, url: str) -> None:
        self._cli = cli
        self.env = {**amqp.env, "RPI_HEALTH_DATABASE_URL": url}

    def __call__(self, *args: str, **settings: str) -> Examined:
        env = {**self.env, **{f"RPI_HEALTH_{name.upper()}": value for name, value in settings.items()}}
        done = self._cli("doctor", "--json", *args, env=env)
        assert done.stderr == ""
        assert SECRET not in done.stdout
        found: list[dict[str, Any]] = json.loads(done.stdout)
        # The first that is broken decides.
        first = next((each["exit_status"] for each in found if each["verdict"] == "broken"), 0)
        assert done.returncode == first
        assert all(each["says"] and "\n" not in each["says"] for each in found)
        worst_last = sorted(found, key=lambda each: ["ok", "warning", "broken"].index(each["verdict"]))
        return Examined(
            done.returncode,
            [each["step"] for each in found],
            {each["step"]: each["verdict"] for each in worst_last},
            {each["step"]: each["says"] for each in worst_last},
        )


@pytest.fixture
def doctor(cli: Cli, amqp: Amqp, sqlite_url: str) -> Doctor:
    migrations.upgrade(sqlite_url)
    amqp.declare()
    return Doctor(cli, amqp, sqlite_url)


def test_set_up_that_works_is_well_from_the_settings_to_a_row(amqp: Amqp, cli: Cli, migrated_url: str) -> None:
    amqp.declare()
    doctor = Doctor(cli, amqp, migrated_url)
    consuming = Consuming(cli, doctor.env)
    wait_until(lambda: doctor().says.get("consumers", "").startswith("1 on the queue, 1 of them"), 30, "the consumer")
    found = doctor("--round-trip")
    file = ["file"] if migrated_url.startswith("sqlite") else []
    assert found.steps == [*WAY, ROW[0], *file, *ROW[1:], "consumers", "round trip"]
    assert (found.status, found.wrong) == (0, {})
    shown = cli("doctor", env=doctor.env)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.splitlines()[-1] == "All is well."
    assert consuming.stop()["deliveries"] == 0
    assert (count_rows(migrated_url, DeviceStatus), count_rows(migrated_url, DeviceHistory)) == (0, 0)


def test_nothing_is_changed_where_messages_wait_and_queues_are_missing(
    amqp: Amqp, doctor: Doctor, sqlite_url: str
) -> None:
    amqp.publish([{"id": "pi"}] * 3)
    amqp.publish([b"bad"], queue=amqp.dead_letter_queue)
    found = doctor("--round-trip")
    assert found.status == 0
    assert "3 messages wait, 0 consumers: run `rpi-health consume`" in found.wrong["queue"]
    assert "1 message in" in found.wrong["dead letters"]
    assert "run `rpi-health consume`" in found.wrong["consumers"]
    assert [bool(method) for method in redelivered(amqp)] == [False] * 3
    assert count_rows(sqlite_url, DeviceStatus) == 0
    missing = doctor(queue=f"{amqp.queue}-missing")
    assert "-missing is missing: `rpi-health consume` makes it" in missing.wrong["queue"]
    assert "reading" not in missing.steps
    with amqp.channel() as channel, pytest.raises(pika.exceptions.ChannelClosedByBroker):
        channel.queue_declare(f"{amqp.queue}-missing", passive=True)


def redelivered(amqp: Amqp) -> list[bool]:
    """Whether the messages that wait have been delivered before."""
    with amqp.channel() as channel:
        found = [channel.basic_get(amqp.queue) for _ in range(3)]
        return [method.redelivered for method, *_ in found if method is not None]


@pytest.mark.parametrize(
    ("settings", "step", "says", "status"),
    [
        ({"batch_size": "many"}, "settings", "give a whole number", 3),
        ({"amqp_url": f"amqp://u:{SECRET}@no-such-host.invalid:5672/"}, "name", "does not resolve", 4),
        ({"amqp_url": f"amqp://u:{SECRET}@127.0.0.1:<broker>/?unknown=1"}, "URLs", "Unknown URL parameter", 3),
        ({"amqp_url": f"amqp://u:{SECRET}@127.0.0.1:<closed>/"}, "port", "Is RabbitMQ running", 4),
        ({"amqp_password": SECRET}, "login", "check user and password", 4),
        ({"amqp_url": "amqp://athavus:1234@127.0.0.1:<broker>/no-such-vhost"}, "login", "virtual host", 4),
        ({"database_url": f"mysql+mysqldb://u:{SECRET}@127.0.0.1/x"}, "driver", "cannot be loaded", 5),
        ({"database_url": f"postgresql://u:{SECRET}@127.0.0.1:<closed>/x"}, "login", "may succeed later", 5),
        ({"database_url": "sqlite:////tmp/no-such-folder/fleet.db"}, "file", "run `rpi-health init-db`", 6),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_first_thing_that_is_broken_is_named_with_its_cure(
    amqp: Amqp, doctor: Doctor, closed_port: int, settings: dict[str, str], step: str, says: str, status: int
) -> None:
    ports = {"<closed>": str(closed_port), "<broker>": str(amqp.server.port)}
    for name, value in settings.items():
        for mark, port in ports.items():
            settings = {**settings, name: (value := value.replace(mark, port))}
    found = doctor(**settings)
    assert (found.status, found.verdicts[step]) == (status, "broken")
    assert says in found.says[step]


def test_database_without_tables_or_without_the_user_is_broken(
    amqp: Amqp, cli: Cli, postgresql: PostgreSQL, postgresql_url: str
) -> None:
    doctor = Doctor(cli, amqp, postgresql_url)
    found = doctor()
    assert (found.status, found.steps[-1]) == (6, "tables")
    assert "run `rpi-health init-db`" in found.says["tables"]
    found = doctor(database_url=postgresql_url.replace("postgres@", f"nobody:{SECRET}@"))
    assert (found.status, found.steps[-1]) == (5, "login")
    assert "check user, password and database name" in found.says["login"]


@pytest.mark.parametrize(
    ("permissions", "wrong"),
    [
        (
            ("^$", "^$", "^$"),
            {
                "reading": "permission to read",
                "publishing": "permission to write to amq.default",
                "dead letters": "permission to configure",
            },
        ),
        (("^$", "amq.default", ".*"), {"dead letters": "give the user the permission to configure it"}),
        ((r".*\.dead", "amq.default", ".*"), {}),
        ((".*", ".*", "^$"), {"reading": "permission to read"}),
    ],
)
def test_permissions_that_are_missing_are_named(
    amqp: Amqp, doctor: Doctor, powerless_user: str, permissions: tuple[str, str, str], wrong: dict[str, str]
) -> None:
    amqp.server.ctl("set_permissions", powerless_user, *permissions)
    found = doctor(amqp_username=powerless_user, amqp_password=SECRET)
    broken = {step: says for step, says in found.wrong.items() if found.verdicts[step] == "broken"}
    assert broken.keys() == wrong.keys()
    assert all(says in broken[step] for step, says in wrong.items())
    assert found.status == (4 if wrong else 0)


def test_queue_of_another_type_is_taken_as_it_is_and_the_refusal_of_producers_explained(
    amqp: Amqp, cli: Cli, sqlite_url: str
) -> None:
    migrations.upgrade(sqlite_url)
    amqp.declare(arguments={"x-queue-type": "quorum"})
    found = Doctor(cli, amqp, sqlite_url)()
    assert found.status == 0
    assert "are refused (406 PRECONDITION_FAILED" in found.wrong["declaring"]
    assert "x-queue-type" in found.wrong["declaring"]


def test_alarm_of_the_broker_is_said(amqp: Amqp, doctor: Doctor) -> None:
    amqp.server.ctl("set_vm_memory_high_watermark", "0.0001")
    try:
        found = doctor()
    finally:
        amqp.server.ctl("set_vm_memory_high_watermark", "0.4")
    assert (found.status, found.verdicts["publishing"]) == (4, "broken")
    assert "memory or disk" in found.says["publishing"]


def test_node_of_a_cluster_that_is_down_is_worth_a_look(amqp: Amqp, doctor: Doctor, closed_port: int) -> None:
    both = f"amqp://athavus:1234@127.0.0.1:{closed_port}/%2F,{amqp.url}"
    found = doctor(amqp_url=both)
    assert found.status == 0
    assert found.steps[:6] == ["settings", "name", "port", "name", "port", "login"]
    assert "queue" in found.steps


def test_other_program_that_takes_messages_is_found(amqp: Amqp, doctor: Doctor) -> None:
    with amqp.channel() as channel:
        channel.basic_consume(amqp.queue, lambda *_: None)
        found = doctor()
    assert (
        "1 on the queue, 0 of them known to this database: another program takes messages" in found.wrong["consumers"]
    )


@contextlib.contextmanager
def shaking_hands(authority: trustme.CA, host: str) -> Iterator[int]:
    """Somebody who makes TLS connections with a certificate for that host, and ends each. Gives the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    plain, _ = listener.accept()
                except OSError:
                    return
                with contextlib.suppress(OSError), plain, context.wrap_socket(plain, server_side=True):
                    pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


@pytest.mark.parametrize(
    ("host", "is_trusted", "says"),
    [
        ("localhost", True, "TLSv1"),
        ("broker.example", True, "certificate is not valid for 'localhost'"),
        ("localhost", False, "an authority that is not trusted here"),
    ],
)
def test_certificate_is_checked_as_the_consumer_does(
    doctor: Doctor, tmp_path: Path, host: str, is_trusted: bool, says: str
) -> None:
    authority = trustme.CA()
    (authority if is_trusted else trustme.CA()).cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    doctor.env["SSL_CERT_FILE"] = str(tmp_path / "ca.pem")
    with shaking_hands(authority, host) as port:
        found = doctor(amqp_url=f"amqps://u:{SECRET}@localhost:{port}/")
    assert found.status == 4
    assert says in found.says["TLS"]
    assert found.verdicts["TLS"] == ("ok" if says.startswith("TLSv1") else "broken")


def test_trigger_that_loses_reports_is_found(doctor: Doctor, sqlite_url: str) -> None:
    run(
        sqlite_url,
        "CREATE TRIGGER lose AFTER INSERT ON device_history BEGIN DELETE FROM device_history; END",
    )
    found = doctor()
    assert (found.status, found.verdicts["writing"]) == (5, "broken")
    assert "do triggers or rules change device_history?" in found.says["writing"]


def test_device_that_was_heard_of_in_the_future_is_said(doctor: Doctor, sqlite_url: str) -> None:
    with connected(sqlite_url) as connection:
        connection.execute(sa.text("INSERT INTO device_status (raspberry_id, last_update) VALUES ('pi', '2099-01-01')"))
    assert "some clock is or was wrong" in doctor().wrong["clock"]


def test_table_on_a_terminal_is_in_order_and_without_passwords(amqp: Amqp, doctor: Doctor, cli: Cli) -> None:
    done = cli("doctor", env={**doctor.env, "RPI_HEALTH_AMQP_PASSWORD": SECRET, "COLUMNS": "80"})
    assert (done.returncode, done.stderr) == (4, "")
    assert SECRET not in done.stdout
    lines = done.stdout.splitlines()
    headings = [line for line in lines if line and not line.startswith(" ")]
    assert max(len(line) for line in lines if line not in headings) <= 80
    assert [heading.split()[0] for heading in headings] == ["configuration", "broker", "database", "1"]
    assert headings[-1] == "1 broken"
    assert "amqp_password: *** (environment variable" in " ".join(done.stdout.split())


def test_file_system_is_that_of_the_innermost_mount(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/sda1 / ext4 rw 0 0\nserver:/x /home/a\\040b nfs4 rw 0 0\ntmpfs /home/a\\040b/t tmpfs rw 0 0\n"
    )
    assert filesystem(Path("/home/a b/fleet.db"), mounts) == "nfs4"
    assert filesystem(Path("/home/a b/t/fleet.db"), mounts) == "tmpfs"
    assert filesystem(Path("/home/x/fleet.db"), mounts) == "ext4"
    assert filesystem(Path("/home/x/fleet.db"), tmp_path / "missing") is None
