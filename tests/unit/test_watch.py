"""What a view that stays says while the database is away."""

from __future__ import annotations

import io

import click
from rich.console import Console

from rpi_health import errors
from rpi_health.cli.watch import watch


def test_what_a_database_says_does_nothing_to_the_terminal_and_shows_no_password() -> None:
    pictures = iter(["fleet", errors.DatabaseUnavailable("postgresql://pi:secret@db/fleet: \x1b]0;title\x07[red]no")])

    def draw() -> str:
        picture = next(pictures, KeyboardInterrupt())
        if isinstance(picture, BaseException):
            raise picture
        return picture

    output = io.StringIO()
    console = Console(file=output, width=120, force_terminal=True, no_color=True)
    with click.Context(click.Command("status")):
        watch(console, draw, every_s=0.0)
    shown = output.getvalue()
    assert "As it was before this: " in shown
    assert "\\x1b]0;title\\x07[red]no" in shown
    assert "\x07" not in shown
    assert "secret" not in shown
