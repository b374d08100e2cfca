"""The dead-letter queue: its letters as a table, and one of them with its body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rpi_health.delivery import DeadLetter
from rpi_health.render.units import WARM, byte_count
from rpi_health.text import clean

_MOST_CHARACTERS = 4_000
_LONGEST_REASON = 24
_TIME_LENGTH = len("2026-01-31T09:00:00")


def letters(found: Sequence[DeadLetter], reasons: Mapping[str, int], queue: str) -> RenderableType:
    """A row each, and a line about all of them.

    Args:
        found: those to show.
        reasons: how many there are of each reason, those that are not shown included.
    """
    total = sum(reasons.values())
    if not total:
        return Text(f"None in {clean(queue)}.")
    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold", expand=True
    )
    rows = [
        (each.id, _received(each), clean(each.reason, _LONGEST_REASON), byte_count(len(each.body))) for each in found
    ]
    # What is too wide for the terminal is cut off the detail, and nothing else.
    for position, title in enumerate(("Id", "Received (UTC)", "Reason", "Size")):
        width = max(len(title), *(cell_len(row[position]) for row in rows), 0)
        table.add_column(title, width=width, no_wrap=True, justify="right" if title == "Size" else "left")
    table.add_column("Detail", no_wrap=True, overflow="ellipsis", ratio=1)
    for row, each in zip(rows, found):
        table.add_row(*map(Text, row), Text(clean(each.detail)))
    shown = "" if len(found) == total else f"{len(found):,} of "
    parts = [Text(f"{shown}{total:,} in {clean(queue)}", style="bold")]
    parts += [Text(f"{count:,} {clean(reason)}", style=WARM) for reason, count in _most_first(reasons)]
    return Group(table, "", Text(" · ").join(parts))


def letter(found: DeadLetter, *, whole: bool) -> RenderableType:
    """All that is known of one, and its body as text in which nothing acts on a terminal.

    Args:
        whole: however long the body is.
    """
    table = Table.grid(padding=(0, 2, 0, 0))
    facts = {
        "Reason": found.reason,
        "Detail": found.detail,
        "From queue": found.queue,
        "Received": found.received_at,
        "Redelivered": "yes" if found.redelivered else "no",
        "Retries": str(found.retries),
    }
    properties = {name: value for name, value in found.properties._asdict().items() if value is not None}
    headers = properties.pop("headers", {})
    for name, value in (*facts.items(), *properties.items(), *headers.items()):
        if value != "":
            table.add_row(Text(clean(str(name), 40)), Text(clean(str(value), 300)))
    body = found.body.decode(errors="backslashreplace")
    shown = "\n".join(map(clean, (body if whole else body[:_MOST_CHARACTERS]).split("\n")))
    parts: list[RenderableType] = [
        Text(found.id, style="bold"),
        table,
        Text(f"\n{byte_count(len(found.body))}", "bold"),
    ]
    parts.append(Text(shown))
    if len(body) > _MOST_CHARACTERS and not whole:
        parts.append(Text(f"… and {len(body) - _MOST_CHARACTERS:,} more characters: --all", style="dim"))
    return Group(*parts)


def _received(found: DeadLetter) -> str:
    return clean(found.received_at[:_TIME_LENGTH].replace("T", " ")) or "–"


def _most_first(reasons: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(reasons.items(), key=lambda each: (-each[1], each[0]))
