from __future__ import annotations

import threading

from rpi_health.shared import ReceivedMessages


def test_it_keeps_the_last_payloads_newest_last() -> None:
    received = ReceivedMessages(limit=3)
    for number in range(5):
        received.append({"n": number})
    assert received == [{"n": 2}, {"n": 3}, {"n": 4}]
    assert received[-1] == {"n": 4}
    assert received[:2] == [{"n": 2}, {"n": 3}]
    assert len(received) == 3


def test_a_smaller_limit_keeps_the_newest() -> None:
    received = ReceivedMessages(limit=5)
    received.extend({"n": number} for number in range(5))
    received.limit = 2
    assert list(received) == [{"n": 3}, {"n": 4}]
    assert received.limit == 2


def test_readers_may_iterate_while_the_consumer_appends() -> None:
    received = ReceivedMessages(limit=50)
    done = threading.Event()

    def append() -> None:
        for number in range(20_000):
            received.append({"n": number})
        done.set()

    writer = threading.Thread(target=append)
    writer.start()
    while not done.is_set():
        numbers = [payload["n"] for payload in received]
        assert numbers == sorted(numbers)
    writer.join(10)
