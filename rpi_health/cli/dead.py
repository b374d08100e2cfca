"""`rpi-health dead`: what became of messages that are no health checks."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import IO, Any, NamedTuple, TypeVar

import click

from rpi_health.cli import letters, settings, times
from rpi_health.cli.output import json_array, print_rich
from rpi_health.delivery import MOST_RETRIES, DeadLetter
from rpi_health.errors import REASONS, BrokerUnavailable

_Command = TypeVar("_Command", bound=Callable[..., Any])


class _Choice(NamedTuple):
    """Which letters.

    Args:
        ids, reasons: empty: any.
        before, since: when they were received; None: any time. A letter of unknown time is in neither.
    """

    ids: tuple[str, ...]
    reasons: tuple[str, ...]
    before: datetime | None
    since: datetime | None

    def has(self, letter: DeadLetter) -> bool:
        if (self.ids and letter.id not in self.ids) or (self.reasons and letter.reason not in self.reasons):
            return False
        if self.before is None and self.since is None:
            return True
        try:
            at = datetime.fromisoformat(letter.received_at)
        except ValueError:
            return False
        if at.tzinfo is None:
            return False
        return (self.before is None or at < self.before) and (self.since is None or at >= self.since)


def _time(ctx: click.Context, parameter: click.Parameter, value: str | None) -> datetime | None:
    return None if value is None else times.age(ctx, parameter, value)


_OPTIONS = (
    click.option("--id", "ids", metavar="ID", multiple=True, help="Only those with this id; repeatable."),
    click.option(
        "--reason",
        "reasons",
        type=click.Choice([*REASONS, "unknown"]),
        metavar="REASON",
        multiple=True,
        help="Only those with this reason; repeatable.",
    ),
    click.option("--older-than", "before", metavar="AGE", callback=_time, help="Only those received before, as 7d."),
    click.option("--newer-than", "since", metavar="AGE", callback=_time, help="Only those received since."),
)


def _choosing(command: _Command) -> _Command:
    """Options that say which letters: the fields of `_Choice`."""
    command = settings.setting_options(command)
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.group("dead")
@settings.setting_options
def command() -> None:
    """Look at bad messages, send them again or delete them.

    They are in the dead-letter queue, because they are no health checks.
    """


@command.command("list")
@click.option(
    "--limit", type=click.IntRange(0), default=50, show_default=True, metavar="N", help="At most so many rows."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON array of all of them, without their bodies.")
@_choosing
@click.pass_context
def list_(ctx: click.Context, /, limit: int, as_json: bool, **options: Any) -> None:
    """List them, the oldest first, and count the reasons."""
    config, choice = settings.load(ctx), _Choice(**options)
    from rpi_health import app

    with app.dead_letters(config) as dead:
        found = filter(choice.has, dead.letters())
        if as_json:
            click.echo(json_array(map(_facts, found)))
            return
        shown = list(itertools.islice(found, limit))
        reasons = Counter(letter.reason for letter in itertools.chain(shown, found))
    from rpi_health.render import dead as render

    print_rich(render.letters(shown, reasons, config.dead_letter_queue))


def _facts(letter: DeadLetter) -> dict[str, Any]:
    facts = {name: value for name, value in letter._asdict().items() if name not in ("tag", "body", "properties")}
    return {"id": letter.id, **facts, "size_bytes": len(letter.body)}


@command.command("show")
@click.argument("letter_id", metavar="ID")
@click.option("--all", "whole", is_flag=True, help="All of the body, however long.")
@settings.setting_options
@click.pass_context
def show(ctx: click.Context, letter_id: str, whole: bool) -> None:
    """Show one with its body, in which nothing can act on a terminal."""
    config = settings.load(ctx)
    from rpi_health import app

    with app.dead_letters(config) as dead:
        found = next((letter for letter in dead.letters() if letter.id == letter_id), None)
    if found is None:
        raise click.UsageError(
            f"There is no {letter_id!r} in {config.dead_letter_queue}. `rpi-health dead list` has ids."
        )
    from rpi_health.render import dead as render

    print_rich(render.letter(found, whole=whole))


@command.command("retry")
@click.option("--dry-run", is_flag=True, help="Only tell how many that would be.")
@_choosing
@click.pass_context
def retry(ctx: click.Context, /, dry_run: bool, **options: Any) -> None:
    """Send them to the queue again, as after a mended producer or a mended rpi-health.

    Each goes out of the dead-letter queue when the broker has confirmed that it is in the other one. One that was sent
    three times and came back each time stays.
    """
    config, choice = settings.load(ctx), _Choice(**options)
    from rpi_health import app

    spent = 0

    def worth_it(found: Iterable[DeadLetter]) -> Iterator[DeadLetter]:
        nonlocal spent
        for letter in filter(choice.has, found):
            if letter.retries < MOST_RETRIES:
                yield letter
            else:
                spent += 1

    with app.dead_letters(config) as dead:
        chosen = worth_it(dead.letters())
        done = _count(chosen) if dry_run else sum(app.retry(config, dead, chosen))
    click.echo(f"{'Would send' if dry_run else 'Sent'} {_messages(done)} to {config.queue} again.")
    if spent:
        click.echo(f"{_messages(spent)} came back {MOST_RETRIES} times: left where they are.", err=True)


@command.command("purge")
@click.option("--dry-run", is_flag=True, help="Only tell how many that would be.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_choosing
@click.pass_context
def purge(ctx: click.Context, /, dry_run: bool, yes: bool, **options: Any) -> None:
    """Delete them for good."""
    config, choice = settings.load(ctx), _Choice(**options)
    from rpi_health import app

    if not dry_run and not yes:
        which = "the chosen" if any(choice) else "all"
        click.confirm(f"Delete {which} messages in {config.dead_letter_queue}?", abort=True, err=True)
    with app.dead_letters(config) as dead:
        chosen = filter(choice.has, dead.letters())
        done = _count(chosen) if dry_run else sum(app.purge(dead, chosen))
    click.echo(f"{'Would delete' if dry_run else 'Deleted'} {_messages(done)} from {config.dead_letter_queue}.")


@command.command("export")
@click.argument("target", metavar="FILE|-", type=click.File("w", encoding="ascii", atomic=True))
@_choosing
@click.pass_context
def export(ctx: click.Context, /, target: IO[str], **options: Any) -> None:
    """Write them to a file, a line of JSON each. They stay where they are."""
    config, choice = settings.load(ctx), _Choice(**options)
    from rpi_health import app

    count = 0
    with app.dead_letters(config) as dead:
        for letter in filter(choice.has, dead.letters()):
            target.write(f"{letters.to_line(letter)}\n")
            count += 1
    click.echo(f"Wrote {_messages(count)}.", err=True)


@command.command("import")
@click.argument("source", metavar="FILE|-", type=click.File("r", encoding="utf-8"))
@settings.setting_options
@click.pass_context
def import_(ctx: click.Context, source: IO[str]) -> None:
    """Publish what `dead export` wrote to the dead-letter queue."""
    config = settings.load(ctx)
    from rpi_health import app

    found = list(_read(source))
    outcome = app.bring_back(config, found)
    click.echo(f"{outcome.confirmed} of {len(found)} confirmed by the broker.", err=True)
    if outcome.error is not None:
        raise outcome.error
    if outcome.confirmed < len(found):
        raise BrokerUnavailable(f"Not confirmed: {len(found) - outcome.confirmed} of {len(found)}. Import them again.")


def _read(source: IO[str]) -> Iterator[DeadLetter]:
    for number, line in enumerate(source, 1):
        if line.strip():
            try:
                yield letters.from_line(line)
            except (ValueError, RecursionError) as error:
                raise click.BadParameter(f"line {number}: {error}.", param_hint="'FILE'") from error


def _count(found: Iterable[DeadLetter]) -> int:
    return sum(1 for _ in found)


def _messages(count: int) -> str:
    return f"{count:,} message{'' if count == 1 else 's'}"
