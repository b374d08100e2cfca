"""The fuzz targets, without a fuzzer, on all that the corpus has: they must not rot between two runs of one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from types import ModuleType
from typing import Any

import pytest
from pika import data as pika_data
from pika import spec

from rpi_health.payload import decode
from rpi_health.report import State
from tests.corpus import load
from tests.fuzz import decoder, header_table

TARGETS = [decoder, header_table]
FEW_BYTES = [b"", b"\0", b"\xff", b"\x1f\xff", b"\x00" * 64, b"\xff" * 64, bytes(range(256))]


@pytest.fixture(autouse=True, scope="module")
def guard() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spec, "data", pika_data)
        yield


@pytest.mark.parametrize("target", TARGETS)
def test_promises_hold_for_the_corpus(target: ModuleType) -> None:
    for seed in target.seeds():
        target.check(seed)


@pytest.mark.parametrize("data", FEW_BYTES)
@pytest.mark.parametrize("target", TARGETS)
def test_promises_hold_for_a_few_bytes(target: ModuleType, data: bytes) -> None:
    target.check(data)


def test_seed_is_the_message_that_it_was_made_of() -> None:
    cases = load(decoder.RECEIVED_AT)
    for case, seed in zip(cases, decoder.seeds()):
        body, envelope = decoder.split(seed)
        assert body == case.body
        assert envelope.timestamp == case.properties.timestamp
        assert bool(envelope.headers) == bool(case.properties.headers)


@pytest.mark.parametrize(
    "broken",
    [
        {"raspberry_id": "pi\0"},
        {"raspberry_id": "x" * 129},
        {"reported_at": datetime(1970, 1, 1, tzinfo=timezone.utc)},
        {"state": State(wifi_status="\ud800")},
        {"state": State(net_bytes_sent=2**63)},
        {"state": State(cpu_percent=float("nan"))},
        {"state": State(extra={"a": [2**64]})},
    ],
    ids=str,
)
def test_broken_promise_is_found(broken: dict[str, Any]) -> None:
    _, envelope = decoder.split(b"")
    report = decode(b'{"id": "pi"}', envelope)
    decoder.check_report(report, envelope)
    with pytest.raises(AssertionError):
        decoder.check_report(report._replace(**broken), envelope)
