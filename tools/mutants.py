"""Break the code in known ways, one at a time, and expect red tests: a mutant that survives is a missing test.

    python -m tools.mutants [NAME…] [--all-tests] [--each] [--jobs N]

A mutant is a patch in ``tests/mutants``: a sentence that says what is broken, a line ``Killed by:`` with the tests that
must go red, and a unified diff. Nothing here is changed: the work is done in copies of the checkout (what git tracks,
and new files that it does not ignore), in temporary folders. Each copy has an environment of its own without anything
to install: its site-packages hold one ``.pth`` file that names the copy first, then the site-packages of the
environment that runs this, and its ``rpi-health`` script runs the package of the copy. An editable install in the
latter does not count, because Python reads no ``.pth`` files in folders that came from one.

First the named tests run without a mutant and must be green, or their red would prove nothing. A mutant is killed when
one of its tests fails; an error outside of a test (a server that did not start) is no proof, and one that hangs is
stopped by the test's own timeout. With ``--all-tests`` the whole suite has a go at each survivor; with ``--each``
every test that a mutant names has to fail, not only the first.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import queue
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tools.patches import BadPatch, Mutant, mutate, read_mutants

ROOT = Path(__file__).resolve().parent.parent
_TEST_TIMEOUT_S = 60
#: All tests of a mutant; what is left of pytest when even its timeout does not work.
_RUN_TIMEOUT_S = 1800
_TESTS_FAILED, _ALL_PASSED = 1, 0

_SCRIPT = """\
#!{python}
import sys
from rpi_health.cli import main
sys.exit(main())
"""


class Verdict(NamedTuple):
    """What became of a mutant.

    Args:
        killer: the test that failed; None when it survived.
        trouble: why nothing was proved, if so.
    """

    name: str
    killer: str | None
    seconds: float
    trouble: str = ""


# ── Copies ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Copy:
    """A copy of the checkout, whose tests import its own package and run its own command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._python = folder / ".venv" / "bin" / "python"
        _copy_checkout(folder)
        self._make_environment()

    def _make_environment(self) -> None:
        environment = self.folder / ".venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
        (packages,) = environment.glob("lib/python*/site-packages")
        paths = dict.fromkeys([str(self.folder), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
        (packages / "copy.pth").write_text("\n".join(paths) + "\n")
        script = environment / "bin" / "rpi-health"
        script.write_text(_SCRIPT.format(python=self._python))
        script.chmod(0o755)
        found = subprocess.run(
            [str(self._python), "-c", "import rpi_health; print(rpi_health.__file__)"],
            cwd="/",
            capture_output=True,
            text=True,
            check=True,
        )
        if not Path(found.stdout.strip()).is_relative_to(self.folder.resolve()):
            raise RuntimeError(f"the copy would test {found.stdout.strip()}, which is not its own package")

    def run_tests(self, tests: Collection[str], *options: str) -> tuple[int, str]:
        """Run some tests. Returns pytest's exit status, and what it wrote."""
        command = [str(self._python), "-m", "pytest", *tests, *options]
        # A missing server must be an error, not a skip. Without cached bytecode, which Python takes for up to date
        # when a file of the same size was written in the same second.
        env = {**os.environ, "CI": "true", "PYTHONDONTWRITEBYTECODE": "1"}
        common = ["--timeout", str(_TEST_TIMEOUT_S), "-p", "no:cacheprovider", "--tb=short", "-q"]
        try:
            done = subprocess.run(
                [*command, *common],
                cwd=self.folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=_RUN_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return -1, f"the tests did not end within {_RUN_TIMEOUT_S} s"
        return done.returncode, done.stdout

    @contextlib.contextmanager
    def with_mutant(self, mutant: Mutant) -> Iterator[None]:
        """Break the code of this copy, then mend it."""
        broken = mutate(mutant, self.folder)
        sound = {path: path.read_text(encoding="utf-8") for path in broken}
        try:
            for path, text in broken.items():
                path.write_text(text, encoding="utf-8")
            yield
        finally:
            for path, text in sound.items():
                path.write_text(text, encoding="utf-8")


def _copy_checkout(folder: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():  # one that is deleted is still listed
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)


# ── Trials ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def try_mutant(mutant: Mutant, copy: Copy, each: bool, all_tests: bool) -> Verdict:
    """Break the code, and see which test notices."""
    started = time.monotonic()
    trials: list[Sequence[str]] = [[test] for test in mutant.killers] if each else [mutant.killers]
    killer, trouble = None, ""
    try:
        with copy.with_mutant(mutant):
            for tests in trials:
                killer, trouble = _first_failure(copy, tests)
                if killer is None:
                    trouble = trouble or (f"{tests[0]} does not notice: {mutant.breaks}" if each else "")
                    break
            if killer is None and all_tests:
                killer, trouble = _first_failure(copy, ["tests"])
    except BadPatch as error:
        killer, trouble = None, str(error)
    return Verdict(mutant.name, killer, time.monotonic() - started, trouble)


def _first_failure(copy: Copy, tests: Sequence[str]) -> tuple[str | None, str]:
    """The test that failed first, if one did, or why nothing was proved."""
    status, report = copy.run_tests(tests, "-x")
    if status == _ALL_PASSED:
        return None, ""
    failed = re.search(r"^FAILED (.+?)(?: - |$)", report, re.MULTILINE)
    if status == _TESTS_FAILED and failed:
        return failed[1], ""
    return None, f"no test failed, but pytest ended with {status}:\n{report[-3000:]}"


def check_green(mutants: Sequence[Mutant], copy: Copy) -> bool:
    """Whether all tests that the mutants name are green without any of them."""
    tests = sorted({test for mutant in mutants for test in mutant.killers})
    print(f"{len(tests)} tests must be green without a mutant …", flush=True)
    status, report = copy.run_tests(tests, "-n", "2", "--dist", "loadscope")
    print(report[-5000:] if status else report.strip().splitlines()[-1], flush=True)
    return status == _ALL_PASSED


def show(mutant: Mutant, verdict: Verdict) -> None:
    """One line of the table; for a survivor, what is not guarded."""
    print(f"{verdict.name:<44} {verdict.seconds:>5.0f} s  {verdict.killer or 'NOT KILLED'}", flush=True)
    if verdict.killer is None:
        print(f"    {verdict.trouble or mutant.breaks}", flush=True)


def try_all(mutants: Sequence[Mutant], folder: Path, options: argparse.Namespace) -> list[Verdict] | None:
    """Try the mutants, as many at a time as there are to be jobs. None when the tests are red without any of them."""
    # All copies at once, before the checkout changes again.
    copies = [Copy(folder / str(number)) for number in range(max(1, min(options.jobs, len(mutants))))]
    if not check_green(mutants, copies[0]):
        return None
    idle: queue.SimpleQueue[Copy] = queue.SimpleQueue()
    for copy in copies:
        idle.put(copy)

    def attempt(mutant: Mutant) -> Verdict:
        copy = idle.get()
        try:
            return try_mutant(mutant, copy, options.each, options.all_tests)
        finally:
            idle.put(copy)

    verdicts = []
    with ThreadPoolExecutor(max_workers=len(copies)) as workers:
        for mutant, verdict in zip(mutants, workers.map(attempt, mutants)):
            show(mutant, verdict)
            verdicts.append(verdict)
    return verdicts


def choose() -> tuple[list[Mutant], argparse.Namespace]:
    """The mutants that the command line names, or all, and its options."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutants", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", metavar="NAME", nargs="*", help="mutants to try; all by default")
    parser.add_argument("--all-tests", action="store_true", help="run the whole suite against those that survive")
    parser.add_argument("--each", action="store_true", help="every test that a mutant names has to fail")
    parser.add_argument("--jobs", type=int, default=2, help="how many to try at a time; 2 by default")
    options = parser.parse_args()
    mutants = {mutant.name: mutant for mutant in read_mutants()}
    unknown = sorted(set(options.names) - set(mutants))
    if unknown:
        parser.error(f"no such mutant: {', '.join(unknown)}")
    return [mutants[name] for name in options.names or mutants], options


def main() -> int:
    """Returns 1 when a mutant survives, or when nothing is proved."""
    mutants, options = choose()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="rpi-health-mutants-") as folder:
        verdicts = try_all(mutants, Path(folder).resolve(), options)
    if verdicts is None:
        print("A test that is red anyway proves nothing: mend it first.", file=sys.stderr)
        return 1
    survived = [verdict.name for verdict in verdicts if verdict.killer is None]
    took = f"in {time.monotonic() - started:.0f} s"
    print(f"{len(verdicts) - len(survived)} killed, {len(survived)} survived, {took}", *survived)
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
