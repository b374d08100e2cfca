"""Messages that are read together are read as each would be alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpi_health.errors import Rejection
from rpi_health.payload import columns, decode_all, fields
from rpi_health.report import Envelope, Report
from tests.unit.payload_helpers import ENVELOPE, SEED_EXAMPLE, body_of
from tests.unit.test_payload_properties import ANY_TEXT, ENVELOPES, JSON, KEYS, NEAR_REPORTS, NUMERIC_TEXT

ANY_VALUE = JSON | NUMERIC_TEXT
#: Of a few keys, and many with the same: they are read together.
ALIKE = st.lists(st.sampled_from(KEYS), max_size=6, unique=True).flatmap(
    lambda keys: st.lists(st.fixed_dictionaries(dict.fromkeys(keys, ANY_VALUE)), min_size=2, max_size=6)
)
KINDS = {
    "text": (fields.TEXT, 8, ANY_TEXT),
    "text or number": (fields.TEXT_OR_NUMBER, 8, ANY_TEXT | st.integers() | st.floats()),
    "number": (fields.NUMBER, 0, st.floats() | st.integers()),
    "positive": (fields.POSITIVE, 0, st.floats()),
    "count": (fields.COUNT, 100, st.integers(-3, 103) | st.booleans()),
    "switch": (fields.SWITCH, 0, st.booleans() | st.integers(0, 1)),
    "JSON": (fields.JSON, 0, JSON),
}


def told(outcomes: Sequence[Report | Rejection]) -> list[str]:
    """By their text: NaN equals nothing, and 1 equals 1.0 and True."""
    return [str(each) if isinstance(each, Rejection) else repr(each) for each in outcomes]


def assert_read_as_if_alone(messages: list[tuple[bytes, Envelope]]) -> None:
    alone = [outcome for message in messages for outcome in decode_all([message])]
    assert told(decode_all(messages)) == told(alone)


@given(ALIKE, st.lists(ENVELOPES, min_size=6, max_size=6))
def test_reports_with_the_same_keys_are_read_as_if_each_were_alone(
    documents: list[dict[str, Any]], envelopes: list[Envelope]
) -> None:
    bodies = [json.dumps({"id": f"pi-{n}", **document}).encode() for n, document in enumerate(documents)]
    assert_read_as_if_alone(list(zip(bodies, envelopes)))


@given(st.lists(NEAR_REPORTS.map(lambda document: json.dumps(document).encode()) | st.binary(), max_size=6))
def test_any_messages_are_read_as_if_each_were_alone(bodies: list[bytes]) -> None:
    assert_read_as_if_alone([(body, ENVELOPE) for body in bodies])


def test_outcomes_are_in_the_order_of_the_messages_whatever_their_keys() -> None:
    bodies = [body_of(cpu_percent=1.0), b"{", body_of(), body_of(cpu_percent=2.0), body_of(id=None), body_of(new=3)]
    outcomes = decode_all([(body, ENVELOPE) for body in bodies])
    found = [each.reason if isinstance(each, Rejection) else each.payload for each in outcomes]
    assert found == [
        {"id": "pi", "cpu_percent": 1.0},
        "bad_json",
        {"id": "pi"},
        {"id": "pi", "cpu_percent": 2.0},
        "missing_device_id",
        {"id": "pi", "new": 3},
    ]


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_values_that_are_plain_are_kept_as_they_are(kind: str, data: st.DataObject) -> None:
    how, bound, values = KINDS[kind]
    sent = data.draw(st.lists(values, min_size=1, max_size=3))
    if how.are_plain(sent, bound):
        problems: list[str] = []
        read = [None if value is None else how.read(value, bound, problems) for value in sent]
        assert (repr(read), problems) == (repr(sent), [])


@pytest.mark.parametrize("key", sorted(set(SEED_EXAMPLE) - {"id"}))
def test_values_of_the_example_are_plain(key: str) -> None:
    """They are read fast only if they are."""
    field = columns._FIELDS[key]
    assert field.kind.are_plain([SEED_EXAMPLE[key]] * 2, field.bound)
