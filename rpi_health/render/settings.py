"""The settings as a table."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from rpi_health.text import clean


def settings(rows: Sequence[tuple[str, str, str]]) -> Table:
    """A row for each: its name, its value, and where that came from. What is no default stands out."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("Setting", no_wrap=True)
    table.add_column("Value", overflow="fold")
    table.add_column("Origin", overflow="fold")
    for name, value, origin in rows:
        style = "dim" if origin == "default" else ""
        table.add_row(name, Text(clean(value) or "–", style=style), Text(clean(origin), style=style))
    return table
