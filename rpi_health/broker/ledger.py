"""Which tags of one session are settled, and the fewest acks that say so. Pure: sends nothing."""

from __future__ import annotations

from collections.abc import Sequence


class Ledger:
    """Turns settled tags into acks. Owned by the thread that sends them.

    Tags count from 1 without gaps. `basic.ack` with `multiple` covers every tag up to its own, so it may only be used
    where all of those are settled; a tag beyond a gap (a bad message that waits for its dead letter) is acked alone.
    """

    def __init__(self) -> None:
        self._highest_settled = 0
        # Only those below the highest settled tag, so that there are never more than the prefetch allows.
        self._unsettled_below: set[int] = set()
        self.settled = 0

    def settle(self, tags: Sequence[int]) -> list[tuple[int, bool]]:
        """Note that these tags (ascending, each settled once) are done. Returns the acks to send: tag, multiple."""
        if not tags:
            return []
        self.settled += len(tags)
        self._unsettled_below.update(range(self._highest_settled + 1, tags[-1] + 1))
        self._unsettled_below.difference_update(tags)
        self._highest_settled = max(self._highest_settled, tags[-1])
        lowest_unsettled = min(self._unsettled_below, default=self._highest_settled + 1)
        within = [tag for tag in tags if tag < lowest_unsettled]
        alone = [(tag, False) for tag in tags if tag > lowest_unsettled]
        # The tag of a multiple ack must not have been acked before: the highest new one, not the end of the run.
        return [(within[-1], True), *alone] if within else alone
