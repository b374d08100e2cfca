"""What the command line asks of an experiment. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """What to run and how much of it. None: as the experiment has it.

    Args:
        only: names or beginnings of names of what takes part; empty: everything.
        rounds: how often each one has its turn.
        messages: in one run.
        devices: that the messages are of.
    """

    only: tuple[str, ...] = ()
    rounds: int | None = None
    messages: int | None = None
    devices: int | None = None

    def wants(self, name: str) -> bool:
        """Whether what has this name takes part."""
        return not self.only or any(name == each or name.startswith(f"{each}-") for each in self.only)

    def unknown(self, names: Sequence[str]) -> list[str]:
        """What is asked for and fits none of the names."""
        return [each for each in self.only if not any(Options((each,)).wants(name) for name in names)]
