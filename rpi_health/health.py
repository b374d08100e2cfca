"""How a running consumer is, as it says itself. A noun."""

from __future__ import annotations

from typing import NamedTuple


class Health(NamedTuple):
    """Why a consumer cannot go on, or does no work just now.

    Args:
        not_live: why it will make no progress, whatever becomes of broker and database: only a new start helps.
        not_ready: why it does not take and store messages at the moment. It will by itself, once that is mended.
    """

    not_live: tuple[str, ...] = ()
    not_ready: tuple[str, ...] = ()

    @property
    def is_live(self) -> bool:
        """Whether progress is possible."""
        return not self.not_live

    @property
    def is_ready(self) -> bool:
        """Whether messages are being taken and can be stored."""
        return not self.not_live and not self.not_ready

    @property
    def reasons(self) -> tuple[str, ...]:
        """All that is wrong, the worst first; safe to show."""
        return self.not_live + self.not_ready
