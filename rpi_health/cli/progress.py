"""A bar on stderr for what takes a while."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_QUIET_S = 1.0


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, if that is a terminal. Gives the function that is told of more that is done."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if not console.file.isatty():
        yield lambda _done: None
        return
    started = time.monotonic()
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(title, total=total, visible=False)

        def advance(done: int) -> None:
            # A bar that only flashes by is noise.
            progress.update(task, advance=done, visible=time.monotonic() - started > _QUIET_S)

        yield advance
