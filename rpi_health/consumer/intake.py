"""The way from the I/O thread to the writer: deliveries in, batches out."""

from __future__ import annotations

import contextlib
import queue

from rpi_health.delivery import Delivery

#: No batch grows once its bodies have so many bytes: what they are decoded to takes several times as much memory.
MAX_BATCH_BYTES = 4 * 1024 * 1024


class Intake:
    """Deliveries that wait for the writer. The prefetch bounds how many there are.

    Batches form by themselves: a lone delivery is a batch at once; under load the batch is what came meanwhile.
    """

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[Delivery | None] = queue.SimpleQueue()
        self._first: Delivery | None = None

    def put(self, delivery: Delivery) -> None:
        """Add a delivery. For the I/O thread."""
        self._waiting.put(delivery)

    def clear(self) -> None:
        """Forget what waits: its session is lost, and the broker delivers it again. For the I/O thread."""
        was_closed = False
        with contextlib.suppress(queue.Empty):
            while True:
                was_closed |= self._waiting.get_nowait() is None
        if was_closed:
            self.close()

    def close(self) -> None:
        """Let `take` return None once all is taken. For the I/O thread."""
        self._waiting.put(None)

    def take(self, limit: int, wait_s: float | None = None) -> list[Delivery] | None:
        """Wait for deliveries and return up to `limit` of them, all of one session, in tag order. For the writer.

        Returns: None when the intake was closed and is empty; an empty list when nothing came for `wait_s`.
        """
        try:
            first = self._first or self._waiting.get(timeout=wait_s)
        except queue.Empty:
            return []
        self._first = None
        if first is None:
            return None
        batch, size = [first], len(first.body)
        while len(batch) < limit and size < MAX_BATCH_BYTES:
            try:
                delivery = self._waiting.get_nowait()
            except queue.Empty:
                break
            if delivery is None:
                self.close()
                break
            if delivery.session is not first.session:
                self._first = delivery
                break
            batch.append(delivery)
            size += len(delivery.body)
        return batch
