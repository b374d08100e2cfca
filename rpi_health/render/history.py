"""The history of a device: as a table of its reports or of spans of time, and as a chart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from rich import box
from rich.table import Table
from rich.text import Text

from rpi_health.metric import Bucket, Metric, Range, Reading
from rpi_health.render.units import figure, figures, heat, instant
from rpi_health.text import clean

_MISSING = Text("–", style="dim")
_CHART_ROWS = 16
_LEAST_CHART_COLUMNS = 40
# A line over a gap this many times as long as the usual step would tell of reports that never came.
_GAP_STEPS = 3


def readings(found: Sequence[Reading], metrics: Sequence[Metric]) -> Table:
    """A row for each report.

    Args:
        found: the oldest first.
        metrics: what their values are of.
    """
    table = _table("Time (UTC)", [metric.title for metric in metrics])
    for reading in found:
        table.add_row(instant(reading.at), *map(_cell, reading.values, metrics))
    return table


def buckets(found: Sequence[Bucket], metrics: Sequence[Metric]) -> Table:
    """A row for each span of time: least/mean/greatest value of each metric, and how many reports."""
    table = _table("From (UTC)", [*(metric.title for metric in metrics), "Reports"])
    table.caption, table.caption_justify = "least/mean/greatest", "left"
    whole_minutes = all(bucket.at.second == 0 for bucket in found)
    for bucket in found:
        start = instant(bucket.at)
        cells = map(_range_cell, bucket.values, metrics)
        table.add_row(start[: -len(":00")] if whole_minutes else start, *cells, str(bucket.reports))
    return table


def _table(first: str, others: Iterable[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column(first, no_wrap=True)
    for title in others:
        table.add_column(title, justify="right", no_wrap=True)
    return table


def _cell(value: float | None, metric: Metric) -> Text:
    if value is None:
        return _MISSING
    return Text(figure(value, metric.unit), style=heat(value) if metric.unit == "°C" else "")


def _range_cell(values: Range | None, metric: Metric) -> Text:
    if values is None:
        return _MISSING
    return Text(figures(values, metric.unit, "/"), style=heat(values.most) if metric.unit == "°C" else "")


def chart(
    device: str,
    points: Sequence[tuple[datetime, float]],
    metric: Metric,
    since: datetime,
    until: datetime,
    width: int,
) -> str:
    """A metric over time, as lines of text without colours. Where reports are missing, so is the line.

    Args:
        device: for the title.
        points: the oldest first; at least one.
        since, until: where the axis of time begins and ends.
        width: of the terminal, in characters.
    """
    import plotext

    scale, unit = _scale(max(abs(value) for _, value in points), metric.unit)
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(max(width, _LEAST_CHART_COLUMNS), _CHART_ROWS)
    for part in _unbroken(points):
        plotext.plot([at.timestamp() for at, _ in part], [value / scale for _, value in part], marker="braille")
    since = min(since, points[0][0])  # a span may begin before
    ticks = [since + (until - since) * share for share in (0, 0.25, 0.5, 0.75, 1)]
    plotext.xlim(since.timestamp(), until.timestamp())
    plotext.xticks([at.timestamp() for at in ticks], [_tick(at, until - since) for at in ticks])
    plotext.title(f"{clean(device, 60)}: {metric.title}{f' in {unit}' if unit else ''}")
    plotext.xlabel("UTC")
    return "\n".join(line.rstrip() for line in str(plotext.uncolorize(plotext.build())).splitlines())


def _scale(most: float, unit: str) -> tuple[float, str]:
    """What to divide by so that axes have short numbers."""
    if unit != "B":
        return 1.0, unit
    for size, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if most >= size:
            return size, name
    return 1.0, "B"


def _tick(at: datetime, span: timedelta) -> str:
    return at.strftime(
        "%H:%M" if span <= timedelta(days=1) else "%m-%d %H:%M" if span <= timedelta(days=5) else "%m-%d"
    )


def _unbroken(points: Sequence[tuple[datetime, float]]) -> list[list[tuple[datetime, float]]]:
    steps = sorted(later - earlier for (earlier, _), (later, _) in zip(points, points[1:]))
    usual = steps[len(steps) // 2] if steps else timedelta()
    parts = [[points[0]]]
    for before, point in zip(points, points[1:]):
        if point[0] - before[0] > _GAP_STEPS * usual:
            parts.append([])
        parts[-1].append(point)
    return parts
