"""Every mutant can be made of the code as it is, and names tests that exist. `tools/mutants.py` tries them."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from tools.patches import FOLDER, BadPatch, Mutant, mutate, parse, read_mutants

ROOT = FOLDER.parent.parent

MUTANTS = read_mutants()
PATCH = """\
What it breaks.

Killed by: tests/unit/test_a.py::test_b
Killed by: tests/unit/test_c.py

--- a/code.py
+++ b/code.py
@@ -1,3 +1,3 @@
 one
-two
+TWO
 three
"""


@cache
def functions_of(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_mutant_changes_the_code_as_it_is_and_names_tests_that_exist(mutant: Mutant) -> None:
    for path, broken in mutate(mutant, ROOT).items():
        assert path.is_relative_to(ROOT / "rpi_health")
        assert broken != path.read_text("utf-8")
        compile(broken, str(path), "exec")
    for killer in mutant.killers:
        file, _, test = killer.partition("::")
        assert test.partition("[")[0] in ("", *functions_of(ROOT / file)), f"there is no {killer}: was it renamed?"


def test_nothing_but_mutants_is_in_their_folder() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {f"{mutant.name}.patch" for mutant in MUTANTS}


def test_the_documentation_counts_them_right() -> None:
    assert f"breaks the code in {len(MUTANTS)} ways" in (ROOT / "docs" / "delivery-guarantee.md").read_text("utf-8")


def test_no_two_mutants_are_the_same() -> None:
    assert len({str(mutant.changes) for mutant in MUTANTS}) == len(MUTANTS)


def test_patch_is_a_sentence_its_tests_and_a_diff() -> None:
    mutant = parse("name", PATCH)
    assert (mutant.name, mutant.breaks) == ("name", "What it breaks.")
    assert mutant.killers == ("tests/unit/test_a.py::test_b", "tests/unit/test_c.py")
    assert [(hunk.line, hunk.before, hunk.after) for hunk in mutant.changes["code.py"]] == [
        (1, ["one", "two", "three"], ["one", "TWO", "three"])
    ]


@pytest.mark.parametrize("lacks", ["What it breaks.", "Killed by:", "--- a/code.py"])
def test_patch_that_lacks_a_part_is_refused(lacks: str) -> None:
    with pytest.raises(BadPatch, match="needs a sentence"):
        parse("name", PATCH.replace(lacks, ""))


@pytest.mark.parametrize(
    ("code", "broken"),
    [
        ("one\ntwo\nthree\n", "one\nTWO\nthree\n"),
        ("zero\none\ntwo\nthree\n", "zero\none\nTWO\nthree\n"),
        ("one\ntwo\nthree\none\ntwo\nthree\n", "one\nTWO\nthree\none\ntwo\nthree\n"),
    ],
    ids=["where it was", "moved", "where it was, and elsewhere"],
)
def test_change_is_made_where_its_lines_are(tmp_path: Path, code: str, broken: str) -> None:
    (tmp_path / "code.py").write_text(code)
    assert mutate(parse("name", PATCH), tmp_path) == {tmp_path / "code.py": broken}


@pytest.mark.parametrize("code", ["one\n2\nthree\n", "zero\none\ntwo\nthree\none\ntwo\nthree\n", None])
def test_change_that_has_no_place_says_to_refresh_the_patch(tmp_path: Path, code: str | None) -> None:
    if code is not None:
        (tmp_path / "code.py").write_text(code)
    with pytest.raises(BadPatch, match=r"refresh tests/mutants/name\.patch"):
        mutate(parse("name", PATCH), tmp_path)
