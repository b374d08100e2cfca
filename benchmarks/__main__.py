"""Command line of the benchmarks. Exit status 0 when all was measured, and every run had done what it should."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, NoReturn

from rich.console import Console
from rich.table import Table

from benchmarks import consumers, growth, latency, machine, memory, startup, throughput
from benchmarks.databases import NotDurable
from benchmarks.options import Options
from benchmarks.program import ProgramFailed
from benchmarks.stage import Stage, WrongOutcome
from tools.servers import ServerError

RESULTS = Path(__file__).resolve().parent / "results"
_WIDTH = 120  # where there is no terminal


class Experiment(NamedTuple):
    """Something to measure.

    Args:
        names: of what takes part in it, for `--only`.
        run: measures; its result goes into the file as it is.
        tables: the result for people.
    """

    names: tuple[str, ...]
    run: Callable[[Stage, Options, Callable[[str], None]], dict[str, Any]]
    tables: Callable[[Mapping[str, Any]], list[Table]]


EXPERIMENTS = {
    module.__name__.rpartition(".")[2]: Experiment(module.NAMES, module.run, module.tables)
    for module in (throughput, latency, memory, growth, consumers, startup)
}


def main() -> int:
    parser = _parser()
    args = parser.parse_args()
    options = Options(tuple(args.only), args.rounds, args.messages, args.devices)
    chosen = list(EXPERIMENTS) if args.experiments == ["all"] else args.experiments or ["throughput"]
    for name in chosen:
        if name not in EXPERIMENTS:
            parser.error(f"there is no experiment {name}: choose from {', '.join(EXPERIMENTS)}")
        if unknown := options.unknown(EXPERIMENTS[name].names):
            parser.error(f"{name} has no {', '.join(unknown)}: choose from {', '.join(EXPERIMENTS[name].names)}")
    signal.signal(signal.SIGTERM, _end)  # so that what was started is stopped then, too
    file = args.json or RESULTS / time.strftime("%Y%m%dT%H%M%SZ.json", time.gmtime())
    try:
        measure(chosen, options, file)
    except (NotDurable, ProgramFailed, ServerError, WrongOutcome) as error:
        print(f"\nFAILED: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def measure(chosen: list[str], options: Options, file: Path) -> None:
    """Run experiments, show each one's tables, and write all that was found to a file as JSON.

    Raises:
        NotDurable, ProgramFailed, ServerError, WrongOutcome: what was measured before is in the file.
    """
    started = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - started:7.1f} s  {what}", file=sys.stderr, flush=True)

    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    with Stage() as stage:
        results: dict[str, Any] = {"machine": machine.describe(stage)}
        for warning in machine.warnings(results["machine"]):
            say(warning)
        for name in chosen:
            say(f"{name} …")
            results[name] = EXPERIMENTS[name].run(stage, options, say)
            results["machine"]["durability"] = stage.durability
            _write(results, file)
            console.print(*EXPERIMENTS[name].tables(results[name]), sep="\n")
    say(f"written to {file}")


def _write(results: Mapping[str, Any], file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks", description=sys.modules["benchmarks"].__doc__)
    known = ", ".join(EXPERIMENTS)
    parser.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help=f"{known}; or all (default: throughput)")
    parser.add_argument(
        "--only", type=lambda text: text.split(","), default=[], metavar="NAME,…", help="take only these"
    )
    parser.add_argument("--rounds", type=_positive, help="how often each one has its turn, where they take turns")
    parser.add_argument("--messages", type=_positive, help="messages in one run")
    parser.add_argument("--devices", type=_positive, help="devices that they are of")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where results go (default: in benchmarks/results)")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _end(signal_number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + signal_number)


if __name__ == "__main__":
    sys.exit(main())
