"""What an examination found, on a terminal: a line a step, under the heading of what was examined."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from rpi_health.finding import BROKEN, OK, WARNING, Finding
from rpi_health.render.units import COOL, HOT, WARM
from rpi_health.text import clean

_SIGNS = {OK: ("●", COOL), WARNING: ("▲", WARM), BROKEN: ("✖", HOT)}
_STEP_WIDTH = 13


def heading(finding: Finding, *, is_first: bool) -> Text:
    """What was examined, with a line between it and what comes before."""
    return Text("" if is_first else "\n").append(clean(finding.area), style="bold")


def line(finding: Finding) -> Table:
    """One step."""
    sign, style = _SIGNS[finding.verdict]
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(width=3, justify="right")
    table.add_column(width=_STEP_WIDTH)
    table.add_column(overflow="fold")
    says = Text(clean(finding.says), style="" if finding.verdict == OK else style)
    table.add_row(Text(sign, style=style), clean(finding.step), says)
    for detail in finding.details:
        table.add_row("", "", Text(clean(detail), style="dim"))
    return table


def verdict(found: Sequence[Finding]) -> Text:
    """All of it in a line."""
    broken = sum(finding.verdict == BROKEN for finding in found)
    warnings = sum(finding.verdict == WARNING for finding in found)
    if not broken and not warnings:
        return Text("All is well.", style=COOL)
    parts = [Text(f"{broken} broken", style=HOT)] if broken else []
    parts += [Text(f"{warnings} to look at", style=WARM)] if warnings else []
    return Text(" · ").join(parts)
