"""What tests with a real broker share."""

from __future__ import annotations

from collections.abc import Iterator

import pika.connection
import pytest

from rpi_health.broker import fast_lane
from tests.certificates import Authority
from tests.conftest import serve
from tools.servers import RabbitMQCluster


@pytest.fixture
def unknown_pika(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A pika whose inner life is another than the fast lane knows."""
    receive = pika.connection.Connection._on_data_available
    monkeypatch.setattr(pika.connection.Connection, "_on_data_available", lambda *args: receive(*args))
    fast_lane.connection_class.cache_clear()
    yield
    fast_lane.connection_class.cache_clear()


@pytest.fixture
def cluster() -> Iterator[RabbitMQCluster]:
    """Three nodes, for this test alone."""
    yield from serve(RabbitMQCluster())


@pytest.fixture(params=["by the lane", "by pika"])
def way(request: pytest.FixtureRequest) -> str:
    """Both ways to receive deliveries, which must keep the same promises."""
    if request.param == "by pika":
        request.getfixturevalue("unknown_pika")
    return str(request.param)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Issues certificates to servers and their clients, who trust it."""
    return Authority(tmp_path_factory.mktemp("trusted"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that neither servers nor their clients know anything of."""
    return Authority(tmp_path_factory.mktemp("unknown"))
