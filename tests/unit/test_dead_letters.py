"""A bad message is settled when the broker has confirmed its dead letter, not before, and never without one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Optional

from rpi_health import errors
from rpi_health.consumer.dead_letters import DeadLetters
from rpi_health.consumer.tally import Tally
from rpi_health.delivery import Letter
from tests.unit.settling import RememberingSession, delivery

FULL = errors.BrokerUnavailable("the queue is full")
Answer = tuple[frozenset[int], Optional[errors.BrokerError]]
ALL_WELL: Answer = (frozenset(), None)


class Publisher:
    """Publishes nothing, gives its answers in order, and closes with the last one, which it then repeats."""

    def __init__(self, events: list[str], *answers: Answer | errors.BrokerError) -> None:
        self._events = events
        self._answers = list(answers)
        self.published: list[list[int]] = []
        self.close: Callable[[], None] = lambda: None

    def publish(self, letters: Sequence[Letter]) -> Answer:
        self.published.append([letter.delivery.tag for letter in letters])
        self._events.append("published")
        answer = self._answers[0]
        if len(self._answers) > 1:
            self._answers.pop(0)
        else:
            self.close()
        if isinstance(answer, errors.BrokerError):
            raise answer
        return answer


def run(session: RememberingSession, publisher: Publisher, *tags: int) -> Tally:
    """Post letters for these tags, and run until the publisher has given its last answer, or would be asked no more."""
    tally = Tally()
    dead_letters = DeadLetters(publisher.publish, tally, retry_limit_s=0.001)
    publisher.close = dead_letters.close
    dead_letters.post([Letter(delivery(session, tag, b"bad"), "bad_json", "") for tag in tags])
    if not session.is_open:
        dead_letters.close()
    thread = threading.Thread(target=dead_letters.run)
    thread.start()
    thread.join(5)
    dead_letters.close()
    thread.join(5)
    assert not thread.is_alive()
    return tally


def test_message_is_settled_after_its_dead_letter_is_confirmed() -> None:
    events: list[str] = []
    session = RememberingSession(events)
    run(session, Publisher(events, ALL_WELL), 7)
    assert (events, session.settled) == (["published", "settled"], [7])


def test_message_whose_dead_letter_is_not_confirmed_is_tried_again_and_not_settled_until_then() -> None:
    events: list[str] = []
    session = RememberingSession(events)
    publisher = Publisher(events, (frozenset({1}), FULL), FULL, ALL_WELL)
    tally = run(session, publisher, 1, 2, 3)
    assert publisher.published == [[1, 2, 3], [2], [2]]
    assert events == ["published", "settled", "settled", "published", "published", "settled"]
    assert session.settled == [1, 3, 2]
    assert (tally.dead_lettered["bad_json"], tally.dead_letter_retries) == (3, 2)


def test_message_whose_dead_letter_is_never_confirmed_is_never_settled() -> None:
    session = RememberingSession()
    tally = run(session, Publisher([], FULL, (frozenset({0}), FULL)), 1)
    assert (session.settled, sum(tally.dead_lettered.values())) == ([], 0)


def test_message_of_a_lost_session_is_left_to_its_redelivery() -> None:
    session, publisher = RememberingSession(), Publisher([], ALL_WELL)
    session.is_open = False
    run(session, publisher, 1)
    assert (publisher.published, session.settled) == ([], [])
