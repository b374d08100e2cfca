"""What an embedding application may look at while the consumer runs: the last payloads. Keeps the seed's names."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload


class ReceivedMessages(Sequence[dict[str, Any]]):
    """The last payloads, newest last: a bounded list that any thread may read while the consumer appends.

    Args:
        limit: how many are kept.
    """

    def __init__(self, limit: int = 1000) -> None:
        self._lock = threading.Lock()
        self._payloads: deque[dict[str, Any]] = deque(maxlen=limit)

    @property
    def limit(self) -> int:
        """How many payloads are kept."""
        return self._payloads.maxlen or 0

    @limit.setter
    def limit(self, limit: int) -> None:
        with self._lock:
            self._payloads = deque(self._payloads, maxlen=limit)

    def append(self, payload: dict[str, Any]) -> None:
        """Add a payload; the oldest makes room for it."""
        self.extend([payload])

    def extend(self, payloads: Iterable[dict[str, Any]]) -> None:
        """Add payloads, the newest last."""
        with self._lock:
            self._payloads.extend(payloads)

    def clear(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._payloads.clear()

    def start_anew(self) -> None:
        """Forget all of them in a fork, where a thread that does not run may hold the lock."""
        self._lock = threading.Lock()
        self.clear()

    def copy(self) -> list[dict[str, Any]]:
        """The payloads at this moment, as a list of one's own."""
        with self._lock:
            return list(self._payloads)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...

    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        return self.copy()[index]

    def __len__(self) -> int:
        return len(self._payloads)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.copy())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (ReceivedMessages, list)):
            return self.copy() == list(other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self.copy())


#: The payloads that the consumer of this process received last.
received_messages = ReceivedMessages()
