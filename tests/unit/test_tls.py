"""Certificates and their keys: what cannot be used is an error that names the setting, the file and the cure."""

from __future__ import annotations

import contextlib
import logging
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from rpi_health.broker import Broker
from rpi_health.broker.context import make_context
from rpi_health.config import load, read
from rpi_health.errors import BrokerUnavailable, ConfigurationError
from rpi_health.tls import Tls

URL = "amqps://user:password@127.0.0.1:1/"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


@pytest.fixture
def files(authority: trustme.CA, tmp_path: Path) -> Path:
    """A folder with an authority, two certificates, and their keys."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    for name in ("client", "other"):
        issued = authority.issue_cert(name)
        issued.cert_chain_pems[0].write_to_path(str(tmp_path / f"{name}.pem"))
        issued.private_key_pem.write_to_path(str(tmp_path / f"{name}-key.pem"))
        issued.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / f"{name}-both.pem"))
    (tmp_path / "text").write_text("neither certificate nor key\n")
    return tmp_path


def protect(path: Path) -> None:
    """Give a key a pass phrase."""
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    hidden = serialization.BestAvailableEncryption(b"secret")
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, hidden)
    )


def test_certificate_and_name_are_checked_unless_told_otherwise(files: Path) -> None:
    context = make_context(Tls(str(files / "ca.pem")))
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert len(context.get_ca_certs()) == 1
    careless = make_context(Tls(str(files / "ca.pem"), insecure=True))
    assert (careless.verify_mode, careless.check_hostname) == (ssl.CERT_NONE, False)


@pytest.mark.parametrize(("cert", "key"), [("client.pem", "client-key.pem"), ("client-both.pem", None)])
def test_key_may_be_beside_the_certificate_or_in_it(files: Path, cert: str, key: str | None) -> None:
    make_context(Tls(cert_file=str(files / cert), key_file=key and str(files / key)))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"ca": "none.pem"}, "AMQP_CA_FILE is '{0}/none.pem', which cannot be read: No such file or directory: give"),
        ({"ca": ""}, "AMQP_CA_FILE is '{0}/', which cannot be read: Is a directory: give"),
        ({"ca": "text"}, "AMQP_CA_FILE is '{0}/text', which holds no certificate in PEM: give"),
        ({"cert": "none.pem"}, "AMQP_CERT_FILE is '{0}/none.pem', which cannot be read: No such file or directory"),
        ({"cert": "text"}, "AMQP_CERT_FILE is '{0}/text', which holds no certificate in PEM"),
        ({"cert": "client.pem"}, "AMQP_CERT_FILE is '{0}/client.pem', which has no key in PEM with it: give"),
        ({"cert": "client.pem", "key": "none.pem"}, "AMQP_KEY_FILE is '{0}/none.pem', which cannot be read"),
        ({"cert": "client.pem", "key": "text"}, "AMQP_CERT_FILE is '{0}/client.pem', which has no key in PEM with it"),
        ({"cert": "client.pem", "key": "other-key.pem"}, "AMQP_KEY_FILE is '{0}/other-key.pem', which has a key that"),
    ],
    ids=str,
)
def test_file_that_cannot_be_used_is_named_with_the_cure(files: Path, given: dict[str, str], says: str) -> None:
    paths = {f"{name}_file": f"{files}/{file}" for name, file in given.items()}
    with pytest.raises(ConfigurationError) as caught:
        Broker([URL], tls=Tls(**paths))  # type: ignore[arg-type]
    assert f"RPI_HEALTH_{says.format(files)}" in str(caught.value)


@pytest.mark.parametrize("beside", [True, False])
def test_pass_phrase_is_not_asked_for(files: Path, beside: bool) -> None:
    protect(files / "client-key.pem")
    (files / "both.pem").write_text((files / "client.pem").read_text() + (files / "client-key.pem").read_text())
    name, key = ("KEY", "client-key.pem") if beside else ("CERT", "both.pem")
    tls = Tls(None, str(files / "client.pem"), str(files / key)) if beside else Tls(None, str(files / key))
    with pytest.raises(ConfigurationError) as caught:
        make_context(tls)
    assert f"RPI_HEALTH_AMQP_{name}_FILE is '{files / key}', which is protected by a pass phrase" in str(caught.value)
    assert "give the key without one" in str(caught.value)


def test_file_that_goes_wrong_later_may_come_right_again(files: Path) -> None:
    broker = Broker([URL], tls=Tls(None, str(files / "client.pem"), str(files / "client-key.pem")))
    (files / "client-key.pem").write_bytes((files / "other-key.pem").read_bytes())
    with pytest.raises(BrokerUnavailable, match="a key that is not the one of the certificate"):
        broker.connect()


def test_file_that_goes_away_while_it_is_read_is_no_other_error(files: Path) -> None:
    cert, key = files / "client.pem", files / "client-key.pem"
    given = cert.read_bytes(), key.read_bytes()
    over = threading.Event()

    def renew() -> None:  # as a tool does that deletes the old file first
        while not over.is_set():
            for path, content in zip((cert, key), given):
                path.unlink()
                path.write_bytes(content)

    thread = threading.Thread(target=renew)
    thread.start()
    try:
        for _ in range(3000):
            with contextlib.suppress(ConfigurationError):
                make_context(Tls(str(files / "ca.pem"), str(cert), str(key)))
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("setting", ["amqp_ca_file", "amqp_cert_file"])
def test_path_that_no_file_can_have_is_an_error_with_its_cure(setting: str) -> None:
    assert "give the path of a PEM file" in problems(amqp_url="amqps://a", **{setting: "/file\0.pem"})


@pytest.mark.parametrize("setting", ["amqp_ca_file", "amqp_cert_file"])
def test_certificate_beside_one_address_without_tls_is_an_error(setting: str) -> None:
    said = problems(amqp_url="amqps://a, amqp://b", **{setting: "/file.pem"})
    assert "it is of use with amqps:// only: give nothing else in amqp_url" in said


def problems(**given: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(given, environ={})
    return str(caught.value)


@pytest.mark.parametrize("setting", ["amqp_ca_file", "amqp_cert_file", "tls_insecure"])
def test_setting_of_tls_without_tls_is_an_error(setting: str) -> None:
    value = "true" if setting == "tls_insecure" else "/file.pem"
    assert "it is of use with amqps:// only" in problems(**{setting: value})
    assert "it is of use with amqps:// only" in problems(**{setting: value}, amqp_url="amqp://a,amqp://b")
    read({setting: value, "amqp_url": "amqps://a, amqps://b"}, environ={})
    if setting == "tls_insecure":
        read({setting: value, "amqp_url": "amqp://a, amqps://b"}, environ={})
        assert not read({setting: "false"}, environ={}).tls_insecure


def test_key_without_its_certificate_is_an_error() -> None:
    assert "give its certificate in amqp_cert_file" in problems(amqp_url="amqps://a", amqp_key_file="/key.pem")


def test_home_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/pi")
    config = read({"amqp_url": "amqps://a", "amqp_ca_file": "~/ca.pem"}, environ={})
    assert (config.tls.ca_file, config.shown("amqp_ca_file")) == ("/home/pi/ca.pem", "/home/pi/ca.pem")


def test_each_start_warns_of_each_broker_that_is_not_checked(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        load({"amqp_url": "amqps://a, amqps://b, amqp://c", "tls_insecure": "1"}, environ={})
    assert [(line.event, line.host) for line in caplog.records] == [  # type: ignore[attr-defined]
        ("tls_insecure", "a"),
        ("tls_insecure", "b"),
    ]
    caplog.clear()
    load({"amqp_url": "amqps://a"}, environ={})
    assert not caplog.records


def test_key_given_in_place_of_its_path_is_not_shown(authority: trustme.CA) -> None:
    key = authority.private_key_pem.bytes().decode()
    said = problems(amqp_url="amqps://a", amqp_cert_file="/cert.pem", amqp_key_file=key)
    assert said.startswith("amqp_key_file is '***' (--amqp-key-file): give the path of a PEM file")
