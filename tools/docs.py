"""The parts of the documentation that are made from the code: ``python -m tools.docs`` writes them anew.

A made part stands between ``<!-- begin: NAME -->`` and ``<!-- end: NAME -->``. The tests fail where one is out of date.
"""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import click

from rpi_health import errors
from rpi_health.cli import main as rpi_health
from rpi_health.config import Config
from rpi_health.events import EVENTS
from rpi_health.monitor import catalogue
from rpi_health.settings import CONFIG_FILE, SETTINGS, Setting

ROOT = Path(__file__).resolve().parent.parent
PAGES = tuple(
    ROOT / "docs" / name for name in ("configuration.md", "message-format.md", "monitoring.md", "embedding.md")
)
EXAMPLES = ROOT / "examples"
UPDATE = "python -m tools.docs"

#: What ends a command without an error of our own.
ENDS = {
    0: "Done. A consumer that was told to stop has stored what it had in hand, or left it with the broker.",
    1: "Something unexpected.",
    2: "The command line is wrong.",
}


def settings() -> str:
    """What each setting does, and its default."""
    rows = [(f"`{setting.name}`", _default(setting), setting.help) for setting in SETTINGS]
    return _table(("Setting", "Default", "What it is"), rows)


def variables() -> str:
    """How each setting is written in the environment, and what may be given."""
    rows = [(f"`{setting.environment}`", setting.right) for setting in (CONFIG_FILE, *SETTINGS)]
    return _table(("Environment variable", "Give"), rows)


def commands() -> str:
    """The commands, each with the options that are its own."""
    rows: list[tuple[str, str]] = []
    with click.Context(rpi_health) as context:
        for name, command in _all_commands(context, rpi_health):
            rows.append((f"**`{name}`**", _first_paragraph(command.help or "")))
            rows.extend(_own_options(command))
    return _table(("Command and options", "What it does"), rows)


def logged_events() -> str:
    """What is logged: its name, its level, and what it means."""
    rows = [(f"`{e.name}`", logging.getLevelName(e.level).lower(), f"{e.sentence} {e.meaning}") for e in EVENTS]
    return _table(("Event", "Level", "What it says, and what it means"), rows)


def metrics(families: Iterable[catalogue.Family]) -> str:
    """Metrics: their names, kinds and meanings, and the values of their labels."""
    return _table(("Metric", "Kind", "What it says"), [(f"`{e.name}`", e.kind, _meaning(e)) for e in families])


def _meaning(family: catalogue.Family) -> str:
    values = ", ".join(f"`{value}`" for value in family.values)
    return f"{family.help} `{family.label}`: {values}." if values else family.help


def example(path: Path) -> str:
    """A program, as it is in its file."""
    return f"```python\n{path.read_text()}```\n"


def reasons() -> str:
    """Why messages are dead-lettered."""
    return _table(("Reason", "The message"), ((f"`{reason}`", meaning) for reason, meaning in errors.REASONS.items()))


def statuses() -> str:
    """The exit statuses, each with what the errors that lead to it say of themselves."""
    meanings = {status: [meaning] for status, meaning in ENDS.items()}
    for kind in _kinds_of(errors.RpiHealthError):
        if "exit_status" in vars(kind) and kind is not errors.RpiHealthError:
            meanings.setdefault(kind.exit_status, []).append(_first_paragraph(inspect.getdoc(kind) or ""))
    return _table(("Status", "Means"), ((str(status), " ".join(meanings[status])) for status in sorted(meanings)))


PARTS: dict[str, Callable[[], str]] = {
    "settings": settings,
    "variables": variables,
    "commands": commands,
    "events": logged_events,
    "consumer metrics": lambda: metrics(catalogue.CONSUMER),
    "fleet metrics": lambda: metrics(catalogue.FLEET),
    "device metrics": lambda: metrics(catalogue.DEVICE),
    "reasons": reasons,
    "statuses": statuses,
    **{path.name: partial(example, path) for path in EXAMPLES.glob("*.py")},
}


def updated(text: str) -> str:
    """A page with its made parts as the code has them now."""
    for name, make in PARTS.items():
        begin, end = f"<!-- begin: {name} -->\n", f"<!-- end: {name} -->"
        head, found, rest = text.partition(begin)
        if found:
            text = f"{head}{begin}\n{make()}\n{end}{rest.partition(end)[2]}"
    return text


def _default(setting: Setting) -> str:
    """As a user would write it; in plain words where it is no constant."""
    text = setting.default or _constant(setting)
    return text if " " in text else f"`{text}`"


def _constant(setting: Setting) -> str:
    default = Config.model_fields[setting.field].default
    if setting.field.endswith("_s"):
        return f"{default:g}s"
    return ",".join(default) if isinstance(default, tuple) else str(default)


def _own_options(command: click.Command) -> Iterable[tuple[str, str]]:
    shared = {setting.flag for setting in (CONFIG_FILE, *SETTINGS) if not setting.command}
    for option in command.params:
        if isinstance(option, click.Option) and not shared & set(option.opts):
            value = "" if option.is_flag else f" {option.metavar or _choices(option)}"
            yield f"`{option.opts[0]}{value}`", " ".join((option.help or "").split())


def _choices(option: click.Option) -> str:
    return "|".join(option.type.choices) if isinstance(option.type, click.Choice) else option.type.name.upper()


def _all_commands(context: click.Context, group: click.Group, above: str = "") -> Iterable[tuple[str, click.Command]]:
    """The commands of a group, and behind each that is a group those of that one."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None:
            yield above + name, command
            if isinstance(command, click.Group):
                yield from _all_commands(context, command, f"{above}{name} ")


def _kinds_of(error: type[errors.RpiHealthError]) -> Iterator[type[errors.RpiHealthError]]:
    yield error
    for kind in error.__subclasses__():
        yield from _kinds_of(kind)


def _first_paragraph(text: str) -> str:
    return " ".join(text.partition("\n\n")[0].split())


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n" for cells in lines)


def main() -> int:
    for page in PAGES:
        text = page.read_text()
        new = updated(text)
        if new != text:
            page.write_text(new)
            print(f"updated {page.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
