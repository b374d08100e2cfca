"""The mutants as patches: what each breaks, who must notice, and what the code would then be. Writes nothing.

A patch is applied where it was made, or in the one other place with the same context, so that unrelated changes of the
code do not spoil it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "mutants"
_KILLED_BY = "Killed by:"
_HUNK = re.compile(r"@@ -(\d+)(?:,\d+)? \+\d+(?:,\d+)? @@")


class BadPatch(Exception):
    """The patch is not as it should be, or the code has changed under it. The message says what to do."""


class Hunk(NamedTuple):
    """A change in one place of a file.

    Args:
        line: where it was when the patch was made, from 1.
        before: the lines that it replaces, with their context.
        after: those that it puts there.
    """

    line: int
    before: list[str]
    after: list[str]


class Mutant(NamedTuple):
    """A known way to break the code.

    Args:
        name: of the patch, without its suffix.
        breaks: what is broken, in a sentence.
        killers: the tests that notice, as pytest names them.
        changes: by file, relative to the checkout.
    """

    name: str
    breaks: str
    killers: tuple[str, ...]
    changes: dict[str, list[Hunk]]


def read_mutants() -> list[Mutant]:
    """All of them, by name."""
    return [parse(path.stem, path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.patch"))]


def parse(name: str, text: str) -> Mutant:
    """Read a patch.

    Raises:
        BadPatch: it has no sentence, names no test or changes nothing.
    """
    head, _, diff = text.partition("\n--- ")
    lines = [line.strip() for line in head.splitlines() if line.strip()]
    killers = [test for line in lines if line.startswith(_KILLED_BY) for test in line[len(_KILLED_BY) :].split()]
    breaks = " ".join(line for line in lines if not line.startswith(_KILLED_BY))
    changes = _parse_diff(f"--- {diff}") if diff else {}
    if not (breaks and killers and changes):
        raise BadPatch(f"{name}: needs a sentence, a line `{_KILLED_BY} TEST…`, and a unified diff")
    return Mutant(name, breaks, tuple(killers), changes)


def _parse_diff(diff: str) -> dict[str, list[Hunk]]:
    changes: dict[str, list[Hunk]] = {}
    hunks: list[Hunk] = []
    for line in diff.splitlines():
        start = _HUNK.match(line)
        if line.startswith("--- "):
            continue
        if line.startswith("+++ "):
            hunks = changes.setdefault(line[4:].split("\t")[0].partition("/")[2], [])
        elif start:
            hunks.append(Hunk(int(start[1]), [], []))
        elif hunks:
            if line[:1] in ("-", " ", ""):
                hunks[-1].before.append(line[1:])
            if line[:1] in ("+", " ", ""):
                hunks[-1].after.append(line[1:])
    return changes


def mutate(mutant: Mutant, root: Path) -> dict[Path, str]:
    """The files of a checkout that a mutant changes, and what they would then hold. Writes nothing.

    Raises:
        BadPatch: what it changes is not there, or is there more than once.
    """
    changed = {}
    for name, hunks in mutant.changes.items():
        path = root / name
        if not path.is_file():
            raise BadPatch(f"{mutant.name}: there is no {name} any more: refresh tests/mutants/{mutant.name}.patch")
        lines = path.read_text(encoding="utf-8").split("\n")
        moved = 0
        for hunk in hunks:
            at = _find(lines, hunk, hunk.line - 1 + moved)
            if at is None:
                where = f"{name}, line {hunk.line}"
                raise BadPatch(f"{mutant.name}: {where} has changed: refresh tests/mutants/{mutant.name}.patch")
            lines[at : at + len(hunk.before)] = hunk.after
            moved += len(hunk.after) - len(hunk.before)
        changed[path] = "\n".join(lines)
    return changed


def _find(lines: list[str], hunk: Hunk, expected_at: int) -> int | None:
    """Where the lines of a hunk are: where they were, or in the one other place that has them."""
    size = len(hunk.before)
    places = [at for at in range(len(lines) - size + 1) if lines[at : at + size] == hunk.before]
    if expected_at in places:
        return expected_at
    return places[0] if len(places) == 1 else None
