"""The pages of the documentation, taken apart: blocks, commands, tables, links; and whether an output is as shown.

Reads Markdown as far as these pages use it; runs nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])

_BLOCK = re.compile(r"^(?:<!-- ([^\n]*) -->\n)?```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_VOLATILE = [
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)"), "TIME"),
    (re.compile(r"\b\d+ (s|min|h|d) ago"), "AGO"),
    (re.compile(r"\bin \d+\.\d s\b"), "in SECONDS"),
    (re.compile(r"\brevision \w+"), "revision R"),
    (re.compile(r"\brpi-health \d+\.\d+\S*"), "rpi-health VERSION"),
    (re.compile(r"─+"), "─"),
    (re.compile(r"[ \t]+"), " "),
]


@dataclass(frozen=True)
class Block:
    """A fenced block: where it begins, the comment before it, its language, its text."""

    page: Path
    line: int
    mark: str
    language: str
    text: str

    def __str__(self) -> str:
        return f"{name_of(self.page)}:{self.line}"


class Command(NamedTuple):
    """A command of a console block, and the output that is shown."""

    line: str
    shown: str


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text()
    return [
        Block(page, text.count("\n", 0, found.start()) + 1, found[1] or "", found[2], found[3])
        for found in _BLOCK.finditer(text)
    ]


def name_of(page: Path) -> str:
    """What a page is called, whatever its folder: several may have the same file name."""
    return page.relative_to(ROOT).as_posix()


def commands_of(block: Block) -> list[Command]:
    """The commands of a console block: the lines that begin with `$ `, and what stands below each."""
    steps = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    assert not steps[0], f"{block} does not begin with a command"
    return [Command(line, shown) for line, _, shown in (step.partition("\n") for step in steps[1:])]


def is_shown(shown: str, actual: str) -> bool:
    """Whether an output is what a page shows, but for times, ages, durations, versions, revisions and blanks.

    `…` stands for anything within a line, and alone on a line for any lines.
    """
    lines = [r"(?:.*\n)*" if line == "…" else re.escape(line).replace("…", ".*") + r"\n" for line in _lines(shown)]
    return re.fullmatch("".join(lines), "".join(f"{line}\n" for line in _lines(actual))) is not None


def _lines(text: str) -> list[str]:
    for pattern, name in _VOLATILE:
        text = pattern.sub(name, text)
    return [line.strip() for line in text.splitlines() if line.strip()]


def table(page: Path, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, row by row, without its head and without backticks and stars."""
    section = re.split(rf"^#+ {re.escape(heading)}$", page.read_text(), flags=re.MULTILINE)[1]
    lines = section[section.index("\n|") + 1 :].split("\n\n")[0].splitlines()
    return [[cell.strip("|`* ") for cell in line.split(" | ")] for line in lines[2:]]


def names(page: Path, heading: str) -> set[str]:
    """The first cells of a table."""
    return {row[0] for row in table(page, heading)}


def links(page: Path) -> list[str]:
    """Where the links of a page lead."""
    return re.findall(r"\]\(([^)\s]+)\)", _prose(page))


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", _prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _prose(page: Path) -> str:
    return _BLOCK.sub("", page.read_text())
