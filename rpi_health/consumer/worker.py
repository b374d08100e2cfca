"""The threads beside the I/O thread."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Worker(threading.Thread):
    """A thread whose failure ends the consumer, and is raised there."""

    def __init__(self, name: str, work: Callable[[], None], on_failure: Callable[[], None]) -> None:
        super().__init__(name=f"rpi-health-{name}", daemon=True)
        self._work = work
        self._on_failure = on_failure
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._error = error
            self._on_failure()

    def reraise(self) -> None:
        if self._error is not None:
            raise self._error
