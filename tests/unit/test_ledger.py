"""Acks must cover exactly the settled tags, each once, and never name a tag that the broker no longer holds."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from rpi_health.broker.ledger import Ledger


class Broker:
    """What RabbitMQ does with acks: an unknown tag closes the channel."""

    def __init__(self, delivered: int) -> None:
        self.unacked = set(range(1, delivered + 1))

    def ack(self, tag: int, multiple: bool) -> None:
        assert tag in self.unacked, f"unknown delivery tag {tag}"
        self.unacked -= {each for each in self.unacked if each == tag or (multiple and each < tag)}


@st.composite
def settlements(draw: st.DrawFn) -> tuple[int, list[list[int]]]:
    count = draw(st.integers(1, 40))
    order = draw(st.permutations(range(1, count + 1)))
    cuts = sorted(draw(st.sets(st.integers(0, count), max_size=8)) | {0, count})
    groups = [sorted(order[start:end]) for start, end in zip(cuts, cuts[1:])]
    return count, [group for group in groups if group]


@given(settlements())
def test_exactly_the_settled_tags_are_acked_whatever_their_order(case: tuple[int, list[list[int]]]) -> None:
    count, groups = case
    ledger, broker, settled = Ledger(), Broker(count), set()
    for group in groups:
        settled |= set(group)
        for tag, multiple in ledger.settle(group):
            broker.ack(tag, multiple)
        assert broker.unacked == set(range(1, count + 1)) - settled
    assert ledger.settled == count


def test_a_batch_without_gaps_is_one_ack() -> None:
    ledger = Ledger()
    assert ledger.settle(list(range(1, 501))) == [(500, True)]
    assert ledger.settle(list(range(501, 1001))) == [(1000, True)]


def test_what_lies_beyond_a_held_tag_is_acked_alone() -> None:
    ledger = Ledger()
    assert ledger.settle([1, 2, 4, 5]) == [(2, True), (4, False), (5, False)]
    assert ledger.settle([3]) == [(3, True)]
    assert ledger.settle([6]) == [(6, True)]


def test_memory_stays_bounded_behind_a_held_tag() -> None:
    ledger, last = Ledger(), 1_000_001
    tracemalloc.start()
    for first in range(2, last, 500):
        assert len(ledger.settle(range(first, first + 500))) == 500
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 1_000_000
    assert ledger.settle([1]) == [(1, True)]
    assert ledger.settle([last + 1, last + 2]) == [(last + 2, True)]
    assert ledger.settled == last + 2
