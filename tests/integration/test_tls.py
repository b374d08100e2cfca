"""Connections by TLS, to real brokers: whom rpi-health takes for one, what it shows, and what it says of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from rpi_health import migrations
from rpi_health.models import DeviceStatus
from tests.amqp import Amqp
from tests.certificates import HOST, Authority
from tests.command import Cli
from tests.conftest import fresh_name, serve
from tests.consuming import Consuming
from tests.proxy import Proxy
from tests.reports import count_rows
from tests.waiting import wait_until
from tools.servers import RabbitMQ

CA, CERT, KEY = (f"RPI_HEALTH_AMQP_{name}_FILE" for name in ("CA", "CERT", "KEY"))


@pytest.fixture(scope="module")
def open_broker(authority: Authority) -> Iterator[RabbitMQ]:
    """Takes clients with and without a certificate."""
    yield from serve(RabbitMQ(tls=authority.server()))


@pytest.fixture(scope="module")
def strict_broker(authority: Authority) -> Iterator[RabbitMQ]:
    """Takes no client without a certificate."""
    yield from serve(RabbitMQ(nodename="rpi_health_strict@localhost", tls=authority.server(wants_client=True)))


class Secured(NamedTuple):
    """A queue on a broker, and the way there by TLS."""

    amqp: Amqp
    authority: Authority
    database_url: str

    def env(self, *, host: str = HOST, port: int | None = None, ca_file: Path | None = None) -> dict[str, str]:
        server = self.amqp.server
        credentials = f"{server.USERNAME}:{server.PASSWORD}"
        return {
            "RPI_HEALTH_AMQP_URL": f"amqps://{credentials}@{host}:{port or server.tls_port}/%2F",
            "RPI_HEALTH_QUEUE": self.amqp.queue,
            "RPI_HEALTH_DATABASE_URL": self.database_url,
            CA: str(ca_file or self.authority.ca_file),
        }


def secured_by(server: RabbitMQ, authority: Authority, database_url: str) -> Iterator[Secured]:
    migrations.upgrade(database_url)
    amqp = Amqp(server, fresh_name("tls"))
    yield Secured(amqp, authority, database_url)
    amqp.delete()


@pytest.fixture
def secured(open_broker: RabbitMQ, authority: Authority, sqlite_url: str) -> Iterator[Secured]:
    yield from secured_by(open_broker, authority, sqlite_url)


@pytest.fixture
def strict(strict_broker: RabbitMQ, authority: Authority, sqlite_url: str) -> Iterator[Secured]:
    yield from secured_by(strict_broker, authority, sqlite_url)


def shown(files: tuple[Path, Path]) -> dict[str, str]:
    return {CERT: str(files[0]), KEY: str(files[1])}


def refused(cli: Cli, env: Mapping[str, str]) -> str:
    """What `consume` says when the broker is none for it. It does not wait for that to change."""
    done = cli("consume", env={**env, "RPI_HEALTH_STARTUP_TIMEOUT": "1h"})
    assert done.returncode == 4, done.stderr
    return done.stderr.splitlines()[-1]


# ── What works ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_thousand_messages_go_by_tls_from_a_producer_into_the_database(cli: Cli, secured: Secured) -> None:
    sent = cli("publish-test", "--id", "pi-0001", "--devices", "1000", env=secured.env())
    assert (sent.returncode, sent.stdout) == (0, ""), sent.stderr
    consuming = Consuming(cli, secured.env(), "--until-empty")
    assert consuming.process.wait(60) == 0, consuming.output
    assert consuming.counts()["deliveries"] == 1000
    assert count_rows(secured.database_url, DeviceStatus) == 1000
    assert not consuming.events("fast_lane_off")
    assert not consuming.events("tls_insecure")


def test_dead_letters_are_sent_and_looked_at_by_tls(cli: Cli, secured: Secured) -> None:
    secured.amqp.publish([b"no health check"])
    assert cli("consume", "--until-empty", env=secured.env()).returncode == 0
    listed = cli("dead", "list", env=secured.env())
    assert (listed.returncode, "bad_json" in listed.stdout) == (0, True)


def test_broker_that_is_cut_off_is_connected_to_again(cli: Cli, secured: Secured) -> None:
    with Proxy(secured.amqp.server.tls_port) as proxy:
        consuming = Consuming(cli, secured.env(port=proxy.port))
        consuming.wait_for("consuming")
        proxy.reset()
        consuming.wait_for("consuming", 2)
        secured.amqp.publish([{"id": "pi"}])
        wait_until(lambda: count_rows(secured.database_url, DeviceStatus) == 1, 30, "the row")
        assert consuming.stop()["sessions"] == 2


def test_client_certificate_is_shown_where_it_is_wanted(cli: Cli, strict: Secured) -> None:
    strict.amqp.publish([{"id": "pi"}])
    done = cli("consume", "--until-empty", env={**strict.env(), **shown(strict.authority.client())})
    assert done.returncode == 0, done.stderr
    assert count_rows(strict.database_url, DeviceStatus) == 1


# ── What does not ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_broker_of_another_name_is_refused(cli: Cli, secured: Secured) -> None:
    said = refused(cli, secured.env(host="127.0.0.1"))
    assert "shows a certificate for another name" in said
    assert "certificate is not valid for '127.0.0.1'" in said


def test_broker_of_an_unknown_authority_is_refused(cli: Cli, secured: Secured, stranger: Authority) -> None:
    said = refused(cli, secured.env(ca_file=stranger.ca_file))
    assert f"an authority that is not trusted here: give the CA's certificate in {CA}" in said


def test_authorities_of_the_system_are_trusted_unless_others_are_given(cli: Cli, secured: Secured) -> None:
    env = secured.env()
    del env[CA]
    assert f"give the CA's certificate in {CA}" in refused(cli, env)
    # Where OpenSSL looks for those of the system.
    assert cli("dead", "list", env={**env, "SSL_CERT_FILE": str(secured.authority.ca_file)}).returncode == 0


def test_port_without_tls_is_told_from_a_wrong_certificate(cli: Cli, secured: Secured) -> None:
    said = refused(cli, secured.env(port=secured.amqp.server.port))
    assert "speaks no TLS there: give its port for amqps://, mostly 5671" in said


def test_port_with_tls_is_told_to_whoever_does_without(cli: Cli, secured: Secured) -> None:
    url = secured.amqp.url_by(secured.amqp.server.tls_port)
    done = cli("publish-test", env={"RPI_HEALTH_AMQP_URL": url})
    assert done.returncode == 4
    assert "to its port for amqp:// or for amqps://, as the URL has it?" in done.stderr


@pytest.mark.parametrize("has_one", [False, True])
def test_client_certificate_that_is_missing_or_of_a_stranger_is_told(
    cli: Cli, strict: Secured, stranger: Authority, has_one: bool
) -> None:
    said = refused(cli, {**strict.env(), **(shown(stranger.client()) if has_one else {})})
    assert ("refuses the client certificate (unknown authority)" if has_one else "wants a client certificate") in said
    assert CERT in said


def test_client_certificate_that_has_expired_is_told(cli: Cli, strict: Secured) -> None:
    expired = strict.authority.client("expired", from_day=-3, to_day=-1)
    assert "refuses the client certificate (expired)" in refused(cli, {**strict.env(), **shown(expired)})


def test_setting_that_cannot_be_used_is_no_fault_of_the_broker(cli: Cli, secured: Secured, tmp_path: Path) -> None:
    for command in (["consume"], ["publish-test"], ["dead", "list"], ["doctor"]):
        done = cli(*command, env={**secured.env(ca_file=tmp_path / "none.pem"), "COLUMNS": "400"})
        assert done.returncode == 3
        said = " ".join((done.stdout + done.stderr).split())
        assert f"{CA} is '{tmp_path}/none.pem', which cannot be read" in said


# ── Not looked at ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("args", "env"), [(["--tls-insecure"], {}), ([], {"RPI_HEALTH_TLS_INSECURE": "1"})], ids=str)
def test_anybody_is_taken_for_the_broker_only_loudly(
    cli: Cli, secured: Secured, stranger: Authority, args: list[str], env: dict[str, str]
) -> None:
    secured.amqp.publish([{"id": "pi"}])
    own = {**secured.env(host="127.0.0.1", ca_file=stranger.ca_file), **env}
    consuming = Consuming(cli, own, "--until-empty", *args)
    assert consuming.process.wait(60) == 0, consuming.output
    (warning,) = consuming.events("tls_insecure")
    assert (warning["level"], warning["host"]) == ("warning", "127.0.0.1")
    assert "The broker's certificate is not checked" in warning["message"]
    assert count_rows(secured.database_url, DeviceStatus) == 1


def test_doctor_looks_at_the_certificate_as_the_consumer_does(cli: Cli, secured: Secured) -> None:
    well = cli("doctor", env={**secured.env(), "COLUMNS": "400"})
    assert "● TLS           TLSv1.3" in well.stdout
    broken = cli("doctor", env={**secured.env(host="127.0.0.1"), "COLUMNS": "400"})
    assert broken.returncode == 4
    assert "✖ TLS           The broker at 127.0.0.1" in broken.stdout
    careless = cli("doctor", "--tls-insecure", env={**secured.env(host="127.0.0.1"), "COLUMNS": "400"})
    assert careless.returncode == 0
    assert "▲ TLS           TLSv1.3" in careless.stdout
    assert "▲ notice        The broker's certificate is not checked" in careless.stdout


# ── Certificates that change ──────────────────────────────────────────────────────────────────────────────────────────


def test_consumer_outlives_an_expired_certificate_of_the_broker(cli: Cli, secured: Secured) -> None:
    server = secured.amqp.server
    with Proxy(server.tls_port) as proxy:
        consuming = Consuming(cli, {**secured.env(port=proxy.port), "RPI_HEALTH_RECONNECT_MAX_DELAY": "1s"})
        consuming.wait_for("consuming")
        server.renew(secured.authority.server(from_day=-3, to_day=-1))
        try:
            assert "has expired: have it renewed at the broker" in refused(cli, secured.env())
            proxy.reset()
            said = consuming.wait_for("retry", 2)["error"]
            assert "shows a certificate that has expired: have it renewed at the broker." in said
        finally:
            server.renew(secured.authority.server())
        consuming.wait_for("consuming", 2)
        assert consuming.stop()["sessions"] == 2


def test_certificate_that_is_not_valid_yet_is_waited_for(cli: Cli, secured: Secured) -> None:
    """A Pi has no clock until it has a network."""
    server = secured.amqp.server
    server.renew(secured.authority.server(from_day=3))
    try:
        consuming = Consuming(cli, {**secured.env(), "RPI_HEALTH_STARTUP_TIMEOUT": "1h"})
        assert "not valid yet: set this machine's clock" in consuming.wait_for("retry")["error"]
    finally:
        server.renew(secured.authority.server())
    consuming.wait_for("consuming")
    consuming.stop()


def test_client_certificate_is_renewed_under_a_running_consumer(cli: Cli, strict: Secured) -> None:
    files = strict.authority.client("renewed")
    with Proxy(strict.amqp.server.tls_port) as proxy:
        env = {**strict.env(port=proxy.port), **shown(files), "RPI_HEALTH_RECONNECT_MAX_DELAY": "1s"}
        consuming = Consuming(cli, env)
        consuming.wait_for("consuming")
        # Its key is not there yet: between the two writes of whoever renews it.
        files[1].unlink()
        proxy.reset()
        wait_until(lambda: "cannot be read" in str(consuming.events("retry")), 30, "the missing key")
        strict.authority.client("renewed")
        consuming.wait_for("consuming", 2)
        assert consuming.stop()["sessions"] == 2
