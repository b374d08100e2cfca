"""The corpus of inputs, one by one, through the decoders of headers and of bodies: no broker and no database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pika
import pytest
from pika import data as pika_data
from pika import spec

from rpi_health.broker import wire
from rpi_health.errors import REASONS, Rejection
from rpi_health.payload import decode
from rpi_health.report import Envelope, Report, State
from rpi_health.text import clean
from tests.corpus import UNSET, Case, load

RECEIVED_AT = datetime(2026, 1, 31, 9, tzinfo=timezone.utc)
CASES = load(RECEIVED_AT)
# The database alone, and a consumer that was killed, can have these reasons.
NOT_OF_THE_DECODER = {"db_rejected", "poison"}


@pytest.fixture(autouse=True, scope="module")
def guard() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spec, "data", pika_data)
        wire.guard_decoder()
        yield


def each(cases: list[Case]) -> list[Any]:
    return [pytest.param(case, id=case.name) for case in cases]


def read(body: bytes, sent: pika.BasicProperties) -> Report:
    """What the consumer makes of a message, after its properties have been on the wire."""
    properties = wire.properties_of(pika.BasicProperties().decode(b"".join(sent.encode())))
    return decode(
        body,
        Envelope(
            RECEIVED_AT,
            b"delivery",
            waiting=True,
            content_encoding=properties.content_encoding,
            message_id=properties.message_id,
            timestamp=properties.timestamp,
            headers=properties.headers or {},
        ),
    )


def state_after(reports: list[Report]) -> dict[str, Any]:
    """The row of a device after these reports."""
    row: dict[str, Any] = {**UNSET, "report_warnings": None, "reported_at": reports[0].reported_at}
    for report in reports:
        if report.reported_at >= row["reported_at"]:
            carried = {n: v for bit, (n, v) in enumerate(report.state._asdict().items()) if report.present >> bit & 1}
            row.update(carried, reported_at=report.reported_at)
    return row


@pytest.mark.parametrize("case", each([case for case in CASES if case.refused is not None]))
def test_what_is_no_health_check_is_refused_for_its_reason(case: Case) -> None:
    with pytest.raises(Rejection) as refused:
        read(case.body, case.properties)
    assert refused.value.reason == case.refused
    assert 0 < len(refused.value.detail) <= 300
    assert clean(refused.value.detail) == refused.value.detail


@pytest.mark.parametrize("case", each([case for case in CASES if case.refused is None]))
def test_health_check_is_read_as_the_contract_says(case: Case) -> None:
    reports = [read(body, case.properties) for body in (case.before, case.body) if body is not None]
    assert {report.raspberry_id for report in reports} == {case.raspberry_id}
    assert case.differences(state_after(reports)) == []
    if case.reported_at is None:
        assert reports[-1].reported_at == RECEIVED_AT


def test_corpus_is_large() -> None:
    assert len(CASES) >= 180


def test_corpus_has_every_reason_that_a_body_can_be_refused_for() -> None:
    assert {case.refused for case in CASES} - {None} == set(REASONS) - NOT_OF_THE_DECODER


def test_corpus_sets_every_column() -> None:
    stored = [case for case in CASES if case.refused is None]
    set_ones = {name for case in stored for name, value in case.columns.items() if value not in (None, False)}
    assert set_ones == set(State._fields) - {"report_warnings"}


def test_each_stored_case_has_a_device_and_each_refused_one_a_body_of_its_own() -> None:
    devices = [case.raspberry_id for case in CASES if case.refused is None]
    bodies = [case.body for case in CASES if case.refused is not None]
    assert len(set(devices)) == len(devices)
    assert len(set(bodies)) == len(bodies)
