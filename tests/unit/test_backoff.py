from __future__ import annotations

from rpi_health.consumer.backoff import Backoff


def test_delays_grow_to_the_limit_and_never_beyond() -> None:
    backoff = Backoff(0.1, 5)
    ceilings = [min(0.1 * 2**turn, 5) for turn in range(12)]
    for ceiling in ceilings:
        assert ceiling / 10 <= backoff.next_s() <= ceiling


def test_delays_of_two_consumers_differ() -> None:
    assert Backoff(1, 30).next_s() != Backoff(1, 30).next_s()


def test_reset_begins_again() -> None:
    backoff = Backoff(0.1, 30)
    for _ in range(10):
        backoff.next_s()
    backoff.reset()
    assert backoff.next_s() <= 0.1
