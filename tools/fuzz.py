"""``make fuzz``: let a coverage-guided fuzzer (atheris, libFuzzer) try to break what the targets in tests/fuzz promise.

Keeps what it has learned, and what it has found, below .fuzz/. Each target runs in a process of its own: the fuzzer
instruments what is imported, and does not return.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.util
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".fuzz"
#: The targets, and the packages whose branches guide the fuzzer.
TARGETS = {"decoder": ["rpi_health.payload", "rpi_health.text"], "header_table": ["rpi_health.broker", "pika"]}
MAX_LENGTH = 4096  # bytes of an input; larger ones only cost time, and the corpus has them
SLOW_S = 10
MEMORY_MB = 2048
MISSING = """\
atheris is not installed: python -m pip install --group fuzz
It is made for some versions of Python only, see https://pypi.org/project/atheris/ - this is Python {version}."""


def target(name: str) -> ModuleType:
    return importlib.import_module(f"tests.fuzz.{name}")


def write_seeds(name: str, folder: Path) -> None:
    """Write what a target begins with, each under the name of its content."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in target(name).seeds():
        if len(seed) <= MAX_LENGTH:
            (folder / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)


def fuzz(name: str, seconds: int) -> bool:
    """Fuzz a target in another process. Returns whether it kept its promises; says how to see one that it broke."""
    folder = FOLDER / name
    findings, learned, seeds = folder / "findings", folder / "corpus", folder / "seeds"
    for needed in (findings, learned):
        needed.mkdir(parents=True, exist_ok=True)
    write_seeds(name, seeds)
    options = {
        "max_total_time": seconds,
        "max_len": MAX_LENGTH,
        "timeout": SLOW_S,
        "rss_limit_mb": MEMORY_MB,
        "dict": ROOT / "tests" / "fuzz" / f"{name}.dict",
        "artifact_prefix": f"{findings}/",
        "print_final_stats": 1,
    }
    known = set(findings.iterdir())
    command = [sys.executable, "-m", "tools.fuzz", "--inside", name, "--", str(learned), str(seeds)]
    command += [f"-{option}={value}" for option, value in options.items()]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    output = done.stdout.decode(errors="replace")
    (folder / "log.txt").write_text(output)
    found = sorted(set(findings.iterdir()) - known)
    print(f"{name}: {summary(output)}", flush=True)
    if done.returncode == 0 and not found:
        return True
    print(output[-4000:], file=sys.stderr)
    for path in found:
        print(f"To see it again: python -m tools.fuzz --target {name} --reproduce {path.relative_to(ROOT)}")
    return False


def summary(output: str) -> str:
    """What the fuzzer says that it has done, in a line."""
    executions = re.findall(r"stat::number_of_executed_units: *(\d+)", output) or re.findall(r"^#(\d+)", output, re.M)
    coverage = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)", output)
    if not executions or not coverage:
        return "the fuzzer did not start"
    edges, features, inputs = coverage[-1]
    return f"{executions[-1]} executions, {edges} branches and {features} features covered, by {inputs} inputs"


def inside(name: str, arguments: Sequence[str]) -> None:
    """Be the process that is fuzzed. Does not return."""
    atheris = importlib.import_module("atheris")
    atheris.enabled_hooks.add("str")  # not RegEx: its patterns do not match from a position, as json asks for
    with atheris.instrument_imports(include=TARGETS[name]):
        check = target(name).check
    atheris.Setup([sys.argv[0], *arguments], check)
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz", description="Fuzz what the targets promise.")
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together (default: 60)")
    parser.add_argument("--target", choices=TARGETS, help="only this one")
    parser.add_argument("--reproduce", type=Path, metavar="FILE", help="run the target on a finding, without a fuzzer")
    parser.add_argument("--inside", choices=TARGETS, help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        inside(given.inside, given.rest)
    names = [given.target] if given.target else list(TARGETS)
    if given.reproduce:
        for name in names:
            target(name).check(given.reproduce.read_bytes())
        return 0
    if importlib.util.find_spec("atheris") is None:
        print(MISSING.format(version=sys.version.split()[0]), file=sys.stderr)
        return 2
    results = [fuzz(name, max(1, given.seconds // len(names))) for name in names]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
