"""`rpi-health doctor`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import click

from rpi_health.cli import settings
from rpi_health.cli.output import forgive_encoding, json_array
from rpi_health.errors import ConfigurationError
from rpi_health.finding import BROKEN, Finding


@click.command("doctor")
@click.option("--round-trip", is_flag=True, help="Also send a report through a queue of its own, and read it back.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array, an object a step.")
@settings.setting_options
@click.pass_context
def command(ctx: click.Context, round_trip: bool, as_json: bool) -> None:
    """Say what works and what does not, from here to a stored row.

    Nothing is changed: what is written is taken back. Exit status: that of the first thing that is broken.
    """
    steps = (_redacted(ctx, finding) for finding in _examined(ctx, round_trip))
    if as_json:
        found = list(steps)
        click.echo(json_array(finding._asdict() for finding in found))
    else:
        found = _show(steps)
    ctx.exit(next((finding.exit_status for finding in found if finding.verdict == BROKEN), 0))


def _examined(ctx: click.Context, round_trip: bool) -> Iterator[Finding]:
    try:
        config = settings.load(ctx, log_notices=False)
    except ConfigurationError as error:
        for line in str(error).splitlines():
            yield Finding("configuration", "settings", BROKEN, line, (), error.exit_status)
        return
    from rpi_health import doctor

    yield from doctor.examine(config, round_trip=round_trip)


def _redacted(ctx: click.Context, finding: Finding) -> Finding:
    details = [settings.redact(ctx, detail) for detail in finding.details]
    return finding._replace(
        area=settings.redact(ctx, finding.area), says=settings.redact(ctx, finding.says), details=details
    )


def _show(steps: Iterable[Finding]) -> list[Finding]:
    """Print each as soon as it is there. Returns all of them."""
    from rich.console import Console

    from rpi_health.render import doctor

    forgive_encoding()
    console = Console(highlight=False)
    found: list[Finding] = []
    for finding in steps:
        if not found or found[-1].area != finding.area:
            console.print(doctor.heading(finding, is_first=not found), soft_wrap=True)
        console.print(doctor.line(finding))
        found.append(finding)
    console.print()
    console.print(doctor.verdict(found))
    return found
