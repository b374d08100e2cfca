"""Connections by TLS, to a real PostgreSQL and MariaDB: what the options of their URLs do, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Union

import pytest

from rpi_health import database
from rpi_health.database_errors import translated
from rpi_health.errors import DatabaseMisconfigured
from tests.amqp import Amqp
from tests.certificates import HOST, Authority
from tests.command import Cli
from tests.conftest import fresh_name, serve
from tools.servers import MariaDB, PostgreSQL

Database = Union[PostgreSQL, MariaDB]


class Kind(NamedTuple):
    """What differs: the server, its options for the CA, the client's certificate and key, and how it tells of TLS."""

    server: type[Database]
    ca: str
    cert: str
    key: str
    version: str


KINDS = {
    "postgresql": Kind(
        PostgreSQL,
        "sslrootcert",
        "sslcert",
        "sslkey",
        "SELECT 'version', version FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
    ),
    "mariadb": Kind(MariaDB, "ssl_ca", "ssl_cert", "ssl_key", "SHOW STATUS LIKE 'Ssl_version'"),
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture(scope="module")
def server(kind: Kind, authority: Authority) -> Iterator[Database]:
    yield from serve(kind.server(tls=authority.server()))


@pytest.fixture
def url(server: Database) -> str:
    """A fresh database, by the name that is in the certificate."""
    return server.create_database(fresh_name("tls")).replace("127.0.0.1", HOST)


def tls_version(kind: Kind, url: str) -> str:
    """Which version of TLS a connection has."""
    engine = database.create_engine(url)
    try:
        with translated(engine.url), engine.connect() as connection:
            return str(connection.exec_driver_sql(kind.version).one()[1])
    finally:
        engine.dispose()


def test_authority_in_the_url_has_the_certificate_checked(kind: Kind, url: str, authority: Authority) -> None:
    assert tls_version(kind, f"{url}?{kind.ca}={authority.ca_file}").startswith("TLSv1.")


def test_server_of_an_unknown_authority_is_refused(kind: Kind, url: str, stranger: Authority) -> None:
    with pytest.raises(DatabaseMisconfigured, match=r"certificate verify failed.*see to the certificates"):
        tls_version(kind, f"{url}?{kind.ca}={stranger.ca_file}")


def test_server_of_another_name_is_refused(kind: Kind, url: str, authority: Authority) -> None:
    with pytest.raises(DatabaseMisconfigured, match=r"(?:not match|not valid for).*see to the certificates"):
        tls_version(kind, f"{url.replace(HOST, '127.0.0.1')}?{kind.ca}={authority.ca_file}")


def test_server_without_tls_is_refused_where_it_is_asked_for(
    kind: Kind, authority: Authority, request: pytest.FixtureRequest
) -> None:
    plain = request.getfixturevalue("postgresql_url" if kind.server is PostgreSQL else "mariadb_url")
    with pytest.raises(DatabaseMisconfigured, match="see to the certificates"):
        tls_version(kind, f"{plain}?{kind.ca}={authority.ca_file}")


def test_client_certificate_is_shown(kind: Kind, server: Database, url: str, authority: Authority) -> None:
    """To a server that lets somebody in by it alone."""
    name = "shower"
    cert, key = authority.client(name)
    if isinstance(server, PostgreSQL):
        server.psql(f"CREATE ROLE {name} LOGIN")
        hba = server.folder / "data" / "pg_hba.conf"
        hba.write_text(f"hostssl all {name} 127.0.0.1/32 cert\n{hba.read_text()}")
        server.psql("SELECT pg_reload_conf()")
    else:
        server.sql(f"CREATE USER {name}@'127.0.0.1' REQUIRE X509; GRANT ALL ON *.* TO {name}@'127.0.0.1'")
    own = url.replace("postgres@", f"{name}@").replace("root@", f"{name}@")
    with pytest.raises(DatabaseMisconfigured):
        tls_version(kind, f"{own}?{kind.ca}={authority.ca_file}")
    key.chmod(0o600)
    options = f"{kind.ca}={authority.ca_file}&{kind.cert}={cert}&{kind.key}={key}"
    assert tls_version(kind, f"{own}?{options}").startswith("TLSv1.")


@pytest.mark.parametrize("name", ["none.pem", "text"])
def test_file_that_cannot_be_used_is_named(kind: Kind, url: str, tmp_path: Path, cli: Cli, name: str) -> None:
    (tmp_path / "text").write_text("no certificate\n")
    done = cli("init-db", env={"RPI_HEALTH_DATABASE_URL": f"{url}?{kind.ca}={tmp_path / name}"})
    assert done.returncode in (3, 5)
    assert str(tmp_path / name) in done.stderr or "no certificate or crl found" in done.stderr


def test_report_goes_by_tls_into_the_database_and_doctor_says_all_is_well(
    kind: Kind, url: str, authority: Authority, stranger: Authority, amqp: Amqp, cli: Cli
) -> None:
    env = {**amqp.env, "RPI_HEALTH_DATABASE_URL": f"{url}?{kind.ca}={authority.ca_file}"}
    assert cli("init-db", env=env).returncode == 0
    amqp.publish([{"id": "pi"}])
    assert cli("consume", "--until-empty", env=env).returncode == 0
    assert '"raspberry_id": "pi"' in cli("status", "--json", env=env).stdout
    assert cli("doctor", env=env).returncode == 0
    done = cli(
        "doctor", env={**env, "RPI_HEALTH_DATABASE_URL": f"{url}?{kind.ca}={stranger.ca_file}", "COLUMNS": "400"}
    )
    assert done.returncode == 5
    assert "see to the certificates" in done.stdout
