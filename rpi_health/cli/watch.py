"""A view that stays on the terminal and is drawn again and again, until `q` or Ctrl-C."""

from __future__ import annotations

import contextlib
import gc
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from rpi_health.cli.settings import redact
from rpi_health.errors import DatabaseError
from rpi_health.text import clean

_QUIT = frozenset(b"qQ")


def watch(console: Console, draw: Callable[[], RenderableType], every_s: float) -> None:
    """Draw what `draw` gives on the whole terminal. While the database is away, the last of it stays, and why.

    Args:
        draw: called each time.
        every_s: how long after that the next time is.

    Raises:
        DatabaseError: there is nothing to draw from the start.
    """
    gc.enable()  # a command that ends soon does without
    hint = Text(f"every {every_s:g} s · q quits", style="dim")
    with contextlib.suppress(KeyboardInterrupt):
        last, trouble = draw(), Text()
        with _keys() as pressed, _screen(console) as live:
            while True:
                live.update(Group(last, trouble, hint), refresh=True)
                if pressed(every_s):
                    return
                try:
                    last, trouble = draw(), Text()
                except DatabaseError as error:
                    why = clean(redact(click.get_current_context(), str(error)))
                    trouble = Text(f"As it was before this: {why}\n", style="bold red")


def _screen(console: Console) -> Live:
    return Live(console=console, screen=True, auto_refresh=False, vertical_overflow="crop")


@contextlib.contextmanager
def _keys() -> Iterator[Callable[[float], bool]]:
    """Have keys come one by one. Gives what waits for so many seconds, and tells whether it is time to quit."""
    if not sys.stdin.isatty():
        yield threading.Event().wait
        return
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield _is_quit
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _is_quit(wait_s: float) -> bool:
    until = time.monotonic() + wait_s
    while (left_s := until - time.monotonic()) > 0:
        if select.select([sys.stdin], [], [], left_s)[0]:
            keys = os.read(sys.stdin.fileno(), 1024)
            if not keys or _QUIT.intersection(keys):  # no key at all: the terminal is gone
                return True
    return False
