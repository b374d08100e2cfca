"""The fast lane on real sockets: it steps aside where it does not know pika, and never delivers what is broken."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pika
import pytest
from pika import spec

from rpi_health.broker import Broker, Connection, fast_lane
from rpi_health.delivery import Delivery
from rpi_health.errors import BrokerUnavailable
from rpi_health.tls import Tls
from tests.amqp import Amqp
from tests.peer import BODY, ListeningPeer, make_content, make_deliver, make_frame, make_header
from tests.waiting import wait_until


class Consumed:
    """A session on a peer that has yet to deliver something."""

    def __init__(self, url: str, tls: Tls | None = None) -> None:
        self.connection = Broker([url], tls=tls or Tls()).connect()
        self.deliveries: list[Delivery] = []
        self.session = self.connection.open_session("queue", 100, self.deliveries.append)
        self._consumer = self.session._consumer_tag

    @property
    def bodies(self) -> list[bytes]:
        return [delivery.body for delivery in self.deliveries]

    def frames(self, tag: int, body: bytes, cuts: tuple[int, ...] = ()) -> list[bytes]:
        return make_content(1, make_deliver(self._consumer, tag), body, cuts=cuts)

    def wait(self, count: int) -> None:
        def has_come() -> bool:
            self.connection.process(0.05)
            return len(self.deliveries) >= count

        wait_until(has_come, 10, f"{count} deliveries")

    def wait_until_lost(self) -> None:
        def process() -> None:
            self.connection.process(0.05)

        with pytest.raises(BrokerUnavailable):
            wait_until(process, 10, "the connection to be lost")


@pytest.fixture
def peer() -> Iterator[ListeningPeer]:
    with ListeningPeer() as peer:
        yield peer


def url_of(peer: ListeningPeer, scheme: str = "amqp") -> str:
    return f"{scheme}://user:password@127.0.0.1:{peer.port}/"


# ── What is broken ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    "broken",
    [make_frame(BODY, 1, b"evil"), make_frame(BODY, 1, b"good", end=0), make_header(1, 9)[:-1] + b"\x00"],
    ids=["too long", "wrong end", "header's end"],
)
def test_broken_frame_ends_the_connection_and_nothing_is_delivered(peer: ListeningPeer, broken: bytes) -> None:
    consumed = Consumed(url_of(peer))
    begun = consumed.frames(2, b"one")[: 1 if broken[0] == 2 else 2]
    peer.send(b"".join([*consumed.frames(1, b"good"), *begun, broken, *consumed.frames(3, b"late")]))
    consumed.wait_until_lost()
    assert consumed.bodies in ([b"good"], [])  # pika hands over what it has when it has read


@pytest.mark.usefixtures("way")
def test_failure_to_take_a_delivery_ends_the_connection(peer: ListeningPeer) -> None:
    consumed = Consumed(url_of(peer))

    def fail(_delivery: Delivery) -> None:
        raise ValueError("no room")

    consumed.session._deliver = fail
    peer.send(b"".join(consumed.frames(1, b"one")))
    consumed.wait_until_lost()
    consumed.connection.close()


# ── Ends ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_session_that_is_given_up_within_a_delivery_leaves_the_connection_in_order(peer: ListeningPeer) -> None:
    consumed = Consumed(url_of(peer))
    begun = consumed.frames(2, b"two frames", (3,))
    peer.send(b"".join([*consumed.frames(1, b"one"), *begun[:3]]))
    consumed.wait(1)
    consumed.session.abandon()
    peer.send(b"".join([*begun[3:], *consumed.frames(3, b"three")]))
    consumed.connection.close()
    assert peer.has_received(spec.Connection.Close)
    assert consumed.bodies == [b"one"]


def test_session_that_is_given_up_late_leaves_the_next_one_alone(peer: ListeningPeer) -> None:
    first = Consumed(url_of(peer))
    first.session.close()
    deliveries: list[Delivery] = []
    second = first.connection.open_session("queue", 100, deliveries.append)
    begun = make_content(1, make_deliver(second._consumer_tag, 1), b"two frames", cuts=[3])
    before = frames_received(first.connection)
    peer.send(b"".join(begun[:3]))
    wait_until(lambda: frames_received(first.connection) >= before + 3, 10, "the first frames")
    first.session.abandon()
    peer.send(b"".join(begun[3:]))
    wait_until(lambda: first.connection.process(0.05) or deliveries, 10, "the delivery")
    second.close()
    first.connection.close()
    assert [(each.session, each.body) for each in deliveries] == [(second, b"two frames")]


def frames_received(connection: Connection) -> int:
    """How many frames have come on a connection, after it had a little time to receive some."""
    connection.process(0.05)
    return int(connection._asynchronous.frames_received)


# ── By TLS ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for this machine, with its key."""
    path = tmp_path / "certificate.pem"
    options = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", path, "-out", tmp_path / "own.pem"]
    subprocess.run(["openssl", "req", *options.split(), *names, *files], check=True, capture_output=True)
    path.write_text(path.read_text() + (tmp_path / "own.pem").read_text())
    return path


@pytest.mark.usefixtures("way")
def test_deliveries_come_by_tls_however_many_at_once(certificate: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    bodies = [bytes([number]) * 20_000 for number in range(60)]
    with ListeningPeer(tls) as peer:
        consumed = Consumed(url_of(peer, "amqps"), Tls(ca_file=str(certificate)))
        peer.send(b"".join(b"".join(consumed.frames(tag, body, (7_000,))) for tag, body in enumerate(bodies, 1)))
        consumed.wait(len(bodies))
        consumed.connection.close()
    assert consumed.bodies == bodies


# ── Another pika ──────────────────────────────────────────────────────────────────────────────────────────────────────


class OtherBlockingConnection(pika.BlockingConnection):
    """One to which nobody can say what it is to be made of."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters)


@pytest.fixture(params=["another function", "another signature"])
def another_pika(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if request.param == "another function":
        request.getfixturevalue("unknown_pika")
    else:
        monkeypatch.setattr(pika, "BlockingConnection", OtherBlockingConnection)
    fast_lane.connection_class.cache_clear()
    yield
    fast_lane.connection_class.cache_clear()


@pytest.mark.usefixtures("another_pika")
def test_lane_that_does_not_know_pika_steps_aside_and_says_so_once(
    amqp: Amqp, caplog: pytest.LogCaptureFixture
) -> None:
    amqp.publish([b"one", b"two"])
    assert [take_one(amqp), take_one(amqp)] == [b"one", b"two"]
    assert amqp.get_all() == []
    assert [each.event for each in caplog.records if hasattr(each, "event")] == ["fast_lane_off"]
    assert fast_lane.connection_class() is pika.SelectConnection


def take_one(amqp: Amqp) -> bytes:
    """Connect, take a message from the queue and settle it."""
    connection = Broker([amqp.url]).connect()
    deliveries: list[Delivery] = []
    session = connection.open_session(amqp.queue, 1, deliveries.append)
    wait_until(lambda: connection.process(0.05) or deliveries, 10, "a delivery")
    session.settle([1])
    session.close()
    connection.close()
    return deliveries[0].body
