"""`rpi-health history`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rpi_health.cli import settings, times
from rpi_health.cli.completion import device_ids
from rpi_health.cli.output import csv_lines, forgive_encoding, json_array, print_rich
from rpi_health.metric import HOUR_S, METRICS, USUAL, Metric

if TYPE_CHECKING:
    from rich.table import Table

#: A chart is as many braille dots wide as two for each of so many columns; more points would only cover each other.
_CHART_SPANS = 160


@dataclass(frozen=True)
class _Found:
    """What was found in the history.

    Args:
        items: readings or buckets, the oldest first.
        metrics: what their values are of.
    """

    items: Sequence[Any]
    metrics: Sequence[Metric]

    def without_empty(self: _Kind) -> _Kind:
        """The same, without the metrics of which there is no value at all."""
        kept = [n for n in range(len(self.metrics)) if any(item.values[n] is not None for item in self.items)]
        items = [replace(item, values=tuple(item.values[n] for n in kept)) for item in self.items]
        return replace(self, items=items, metrics=[self.metrics[n] for n in kept])


class _Reports(_Found):
    """One by one."""

    def table(self) -> Table:
        from rpi_health import render

        return render.readings(self.items, self.metrics)

    def heading(self) -> list[str]:
        return ["reported_at", *(metric.column for metric in self.metrics)]

    def rows(self) -> Iterator[list[Any]]:
        return ([item.at, *item.values] for item in self.items)


class _Spans(_Found):
    """By spans of time."""

    def table(self) -> Table:
        from rpi_health import render

        return render.buckets(self.items, self.metrics)

    def heading(self) -> list[str]:
        return ["start", "reports", *chain(*(metric.figures[:3] for metric in self.metrics))]

    def rows(self) -> Iterator[list[Any]]:
        nothing = (None, None, None)
        return ([item.at, item.reports, *chain(*(values or nothing for values in item.values))] for item in self.items)


_Kind = TypeVar("_Kind", bound=_Found)


@click.command("history")
@click.argument("device", shell_complete=device_ids)
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
        every_s = _chart_span_s(since, until)
    found: _Reports | _Spans
    if every_s is None:
        reports, hourly_until = app.readings(config, device, since, until, metrics)
        found = _Reports(reports, metrics)
    else:
        spans, hourly_until = app.buckets(config, device, since, until, metrics, every_s)
        found = _Spans(spans, metrics)
    if hourly_until is not None:
        until_when = f"{hourly_until:%Y-%m-%d %H:%M} UTC"
        click.echo(f"Of reports up to {until_when}, figures of each hour are kept: --every 1h shows them.", err=True)
    if form == "json":
        click.echo(json_array(dict(zip(found.heading(), row)) for row in found.rows()))
    elif form == "csv":
        click.echo(csv_lines(found.heading(), found.rows()), nl=False)
    elif not found.without_empty().metrics:
        if hourly_until is None:
            click.echo("Nothing of that was reported in that time. --since 30d looks further back.", err=True)
    elif isinstance(found, _Spans) and form == "plot":
        _plot(device, found, since, until)
    else:
        print_rich((found if names else found.without_empty()).table())


def _chart_span_s(since: datetime, until: datetime) -> int:
    """As many spans as a chart has room for; whole hours, where that is more than one."""
    span_s = max(1, int((until - since).total_seconds()) // _CHART_SPANS)
    return span_s if span_s < HOUR_S else -(-span_s // HOUR_S) * HOUR_S


def _plot(device: str, found: _Spans, since: datetime, until: datetime) -> None:
    from rpi_health import render

    forgive_encoding()
    width = shutil.get_terminal_size().columns
    for position, metric in enumerate(found.metrics):
        values = [(item.at, item.values[position]) for item in found.items]
        points = [(at, each.mean) for at, each in values if each is not None]
        if points:
            click.echo(render.chart(device, points, metric, since, until, width))
