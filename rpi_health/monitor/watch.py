"""What the database knows of the fleet, for whoever asks for it every few seconds: asked rarely, waited for briefly."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from rpi_health import errors, events

_T = TypeVar("_T")
#: So long an answer is as good as a new one, also that there is none.
FRESH_S = 15.0
#: After so long, an old answer is none.
STALE_S = 120.0
# A database that hangs must not have the one who asks wait for it: Prometheus gives up after ten seconds.
_PATIENCE_S = 3.0


class Watch(Generic[_T]):
    """Asks on a thread of its own, and only while somebody wants to know.

    Args:
        look: asks the database; raises `DatabaseError` if that cannot be used.
    """

    def __init__(self, look: Callable[[], _T]) -> None:
        self._look = look
        self._log = events.Log(__name__)
        self._lock = threading.Lock()
        self._looking: threading.Thread | None = None
        self._looked_at = -math.inf
        self._found: tuple[float, _T] | None = None

    def last(self) -> _T | None:
        """What was found last, if that is not too long ago. Any thread may ask."""
        with self._lock:
            is_looking = self._looking is not None and self._looking.is_alive()
            if not is_looking and time.monotonic() - self._looked_at >= FRESH_S:
                self._looked_at = time.monotonic()
                self._looking = threading.Thread(target=self._go_and_look, name="rpi-health-metrics", daemon=True)
                self._looking.start()
            looking = self._looking
        if looking is not None:
            looking.join(_PATIENCE_S)
        found = self._found
        return found[1] if found is not None and time.monotonic() - found[0] < STALE_S else None

    def _go_and_look(self) -> None:
        try:
            self._found = (time.monotonic(), self._look())
        except errors.DatabaseError as error:
            self._log.say(events.FLEET_UNKNOWN, error=error)
