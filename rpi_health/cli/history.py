"""`rpi-health history`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from rpi_health.cli import settings, times
from rpi_health.cli.output import csv_lines, forgive_encoding, json_array
from rpi_health.metric import METRICS, USUAL, Bucket, Metric, Reading

if TYPE_CHECKING:
    from rich.table import Table

#: A chart is as many braille dots wide as two for each of so many columns; more points would only cover each other.
_CHART_SPANS = 160


class _Reports(NamedTuple):
    """Reports one by one.

    Args:
        found: the oldest first.
        metrics: what their values are of.
    """

    found: Sequence[Reading]
    metrics: Sequence[Metric]

    def of(self, positions: Sequence[int]) -> _Reports:
        found = [Reading(each.at, tuple(each.values[position] for position in positions)) for each in self.found]
        return _Reports(found, [self.metrics[position] for position in positions])

    def has(self, position: int) -> bool:
        return any(each.values[position] is not None for each in self.found)

    def table(self) -> Table:
        from rpi_health import render

        return render.readings(self.found, self.metrics)

    def heading(self) -> list[str]:
        return ["reported_at", *(metric.column for metric in self.metrics)]

    def rows(self) -> Iterator[list[Any]]:
        return ([each.at, *each.values] for each in self.found)


class _Spans(NamedTuple):
    """Reports by spans of time. See `_Reports`."""

    found: Sequence[Bucket]
    metrics: Sequence[Metric]

    def of(self, positions: Sequence[int]) -> _Spans:
        found = [
            Bucket(each.start, each.reports, tuple(each.ranges[position] for position in positions))
            for each in self.found
        ]
        return _Spans(found, [self.metrics[position] for position in positions])

    def has(self, position: int) -> bool:
        return any(each.ranges[position] is not None for each in self.found)

    def table(self) -> Table:
        from rpi_health import render

        return render.buckets(self.found, self.metrics)

    def heading(self) -> list[str]:
        kinds = ("min", "mean", "max")
        return ["start", "reports", *(f"{metric.column}_{kind}" for metric in self.metrics for kind in kinds)]

    def rows(self) -> Iterator[list[Any]]:
        nothing = (None, None, None)
        return ([each.start, each.reports, *(v for r in each.ranges for v in r or nothing)] for each in self.found)


@click.command("history")
@click.argument("device")
@click.option(
    "--since", metavar="TIME", callback=times.instant, default="24h", show_default=True, help="A time, or how long ago."
)
@click.option("--until", metavar="TIME", callback=times.instant, help="The same. By default: now.")
@click.option(
    "--metric",
    "names",
    type=click.Choice([metric.name for metric in METRICS]),
    multiple=True,
    help="What to show; again for more. By default, what there is of temp, cpu and mem.",
)
@click.option(
    "--every",
    "every_s",
    metavar="SPAN",
    callback=times.span_s,
    help="Least, mean and greatest value of spans, such as 5m or 1h.",
)
@click.option("--json", "form", flag_value="json", help="One JSON array: units in the keys, times in UTC.")
@click.option("--csv", "form", flag_value="csv", help="Comma-separated values, under the same names.")
@click.option("--plot", "form", flag_value="plot", help="A chart for each metric.")
@settings.setting_options
@click.pass_context
def command(
    ctx: click.Context,
    device: str,
    since: datetime,
    until: datetime,
    names: tuple[str, ...],
    every_s: int | None,
    form: str | None,
) -> None:
    """Show what a device has reported, the oldest first."""
    if since >= until:
        raise click.UsageError("--since is not before --until.")
    config = settings.load(ctx)
    from rpi_health import app

    metrics = [metric for metric in METRICS if metric.name in names] or list(USUAL)
    if every_s is None and form == "plot":
        every_s = max(1, int((until - since).total_seconds()) // _CHART_SPANS)
    found: _Reports | _Spans
    if every_s is None:
        found = _Reports(app.readings(config, device, since, until, metrics), metrics)
    else:
        found = _Spans(app.buckets(config, device, since, until, metrics, every_s), metrics)
    if form == "json":
        click.echo(json_array(dict(zip(found.heading(), row)) for row in found.rows()))
    elif form == "csv":
        click.echo(csv_lines(found.heading(), found.rows()), nl=False)
    elif not found.found:
        click.echo("No reports from that time. --since 30d looks further back.", err=True)
    elif isinstance(found, _Spans) and form == "plot":
        _plot(device, found)
    else:
        _show(found if names else found.of([n for n in range(len(metrics)) if found.has(n)]))


def _show(found: _Reports | _Spans) -> None:
    from rich.console import Console

    forgive_encoding()
    Console(highlight=False).print(found.table())


def _plot(device: str, found: _Spans) -> None:
    from rpi_health import render

    forgive_encoding()
    for position, metric in enumerate(found.metrics):
        ranges = [(each.start, each.ranges[position]) for each in found.found]
        points = [(start, values.mean) for start, values in ranges if values is not None]
        if points:
            click.echo(render.chart(device, points, metric, shutil.get_terminal_size().columns))
