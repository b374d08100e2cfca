"""Which tags of one session are settled, and the fewest acks that say so. Pure: sends nothing."""

from __future__ import annotations

from collections.abc import Sequence


class Ledger:
    """Turns settled tags into acks. Owned by the thread that sends them.

    Tags count from 1 without gaps. `basic.ack` with `multiple` covers every tag up to its own, so it may only be used
    where all of those are settled; a tag beyond a gap (a bad message that waits for its dead letter) is acked alone.
    """

    def __init__(self) -> None:
        self._lowest_unsettled = 1
        self._settled_beyond: set[int] = set()
        self.settled = 0

    def settle(self, tags: Sequence[int]) -> list[tuple[int, bool]]:
        """Note that these tags (ascending, each settled once) are done. Returns the acks to send: tag, multiple."""
        self.settled += len(tags)
        beyond = self._settled_beyond
        beyond.update(tags)
        while self._lowest_unsettled in beyond:
            beyond.remove(self._lowest_unsettled)
            self._lowest_unsettled += 1
        within = [tag for tag in tags if tag < self._lowest_unsettled]
        alone = [(tag, False) for tag in tags if tag >= self._lowest_unsettled]
        # The tag of a multiple ack must not have been acked before: the highest new one, not the end of the run.
        return [(within[-1], True), *alone] if within else alone
