"""The fleet as a table, with lines about all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Literal, NamedTuple

from rich import box
from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.segment import Segment, Segments
from rich.style import Style
from rich.table import Table
from rich.text import Text

from rpi_health.device import STATUS_COLUMNS, Device, address
from rpi_health.presence import Overview, Sighting
from rpi_health.render.units import (
    HOT,
    STATE_SIGNS,
    STATE_STYLES,
    WARM,
    ago,
    byte_count,
    counted,
    heat,
    instant,
    number,
)
from rpi_health.text import clean

#: What a cell shows: its text, cleaned, and a style, which may be empty.
_Shown = tuple[str, str]

_MISSING: _Shown = ("–", "dim")
_LONGEST_TEXT = 200
#: Of what should have been a number: longer text would take the place of what was understood.
_LONGEST_READING = 10
_DISCONNECTED = frozenset({"disconnected", "down", "off", "offline"})


def fleet(
    devices: Sequence[Device],
    now: datetime,
    console: Console,
    names: Sequence[str] | None = None,
    before: Mapping[str, Device] | None = None,
) -> RenderableType:
    """The fleet as a table with as many columns as the terminal has room for, in the order given.

    Rich lays out a table of one row, and each device's row is written as that one: a table of 10,000 rows takes rich
    itself six seconds.

    Args:
        devices: the rows.
        now: aware; what "12 s ago" counts from.
        console: tells the width.
        names: the columns to show, of `STATUS_COLUMNS`, however wide that is; None: those that there is room for.
        before: the devices by id as they were shown last; what has changed since stands out.
    """
    if names is None:
        columns = [column for column in _ALL_COLUMNS if console.width >= column.from_width]
    else:
        columns = [_ALL_COLUMNS[STATUS_COLUMNS.index(name)] for name in names]
    cells = [_Cells(column, devices, now, before) for column in columns]
    table = _layout(columns)
    table.add_row(*cells)
    *heading, _ = console.render_lines(table, pad=False, new_lines=True)
    rows = zip(*[each.written(last=each is cells[-1]) for each in cells])
    return Segments(chain.from_iterable(chain(heading, chain.from_iterable(rows))))


def _layout(columns: Sequence[_Column]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for column in columns:
        # Where the room is short, rich narrows the columns that may wrap, the widest first; their text does not wrap.
        justify: Literal["left", "right"] = "left" if column.shrinks else "right"
        table.add_column(column.title, justify=justify, no_wrap=not column.shrinks, overflow="ellipsis")
    return table


def summary(shown: int, now: datetime, overview: Overview) -> RenderableType:
    """The whole fleet in a line, of which so many devices are shown; and who hears it in another."""
    return Group(_figures(shown, overview), _hearing(now, overview))


def _figures(shown: int, overview: Overview) -> Text:
    total = sum(overview.counts.values())
    of = "" if shown == total else f"{shown:,} of "
    parts = [Text(f"{of}{total:,} device{'' if total == 1 else 's'}", style="bold")]
    # Who is in the most trouble comes first, as in the table.
    counts = [(state, count) for state, count in reversed(list(overview.counts.items())) if count]
    parts += [Text(f"{STATE_SIGNS[state]} {count:,} {state}", style=STATE_STYLES[state]) for state, count in counts]
    parts += [Text(f"{overview.hot:,} hot", style=HOT)] if overview.hot else []
    parts += [Text(f"{overview.warm:,} warm", style=WARM)] if overview.warm else []
    return Text(" · ").join(parts)


def _hearing(now: datetime, overview: Overview) -> Text:
    running = overview.running(now)
    parts = [Text(f"{len(running)} consumer{'' if len(running) == 1 else 's'}")]
    if running:
        parts.append(Text(f"{sum(consumer.rate for consumer in running):.1f} reports/s"))
        backlog = _backlog(running)
        parts += [] if backlog is None else [Text(f"backlog {backlog:,}", style=WARM if backlog else "")]
    gone = [consumer for consumer in overview.consumers if consumer.is_gone(now)]
    if gone:
        when = ago(max(consumer.updated_at for consumer in gone), now)
        parts.append(Text(f"{len(gone)} ended without a word {when}", style=WARM))
    parts += [Text(f"last report {ago(overview.last_report, now)}")] if overview.last_report else []
    line = Text(" · ").join(parts)
    if not overview.is_heard(now):
        line.append(f"\n{why_unheard(now, overview)}", style=WARM)
    return line


def _backlog(running: Sequence[Sighting]) -> int | None:
    """How many messages wait in the queues: of consumers of one queue, each says the same."""
    known = {each.queue: each.backlog for each in running if each.backlog is not None}
    return sum(known.values()) if known else None


def why_unheard(now: datetime, overview: Overview) -> str:
    """Why the fleet is not being heard, and what its states are as of."""
    heard_until, running = overview.heard_until, overview.running(now)
    as_of = "the last report" if heard_until is None else f"{instant(heard_until)} UTC, {ago(heard_until, now)}"
    if any(consumer.connected for consumer in running):
        return f"A backlog is being drained: states as of {as_of}."
    if running:
        return f"No consumer is connected to the broker: states as of {as_of}."
    return f"No consumer is running: states as of {as_of}."


class _Column(NamedTuple):
    """A column.

    Args:
        title: its heading.
        cell: what it shows of a device.
        from_width: how wide the terminal has to be, in characters.
        shrinks: whether it is text, which may be cut where the room is short; numbers never are.
    """

    title: str
    cell: Callable[[Device, datetime], _Shown]
    from_width: int = 0
    shrinks: bool = False


class _Cells:
    """The cells of a column: in the table of one row all of them are one cell, which learns there how wide they are."""

    def __init__(
        self, column: _Column, devices: Sequence[Device], now: datetime, before: Mapping[str, Device] | None = None
    ) -> None:
        self._shrinks = column.shrinks
        self._cells = [column.cell(device, now) for device in devices]
        if before is not None:
            self._cells = [
                shown if _is_same(column, shown, before.get(device.raspberry_id), now) else _standing_out(shown)
                for shown, device in zip(self._cells, devices)
            ]
        self._distinct = set(self._cells)
        self._widest = max((cell_len(text) for text, _ in self._distinct), default=0)
        self._width = 0

    def __rich_measure__(self, _console: Console, _options: ConsoleOptions) -> Measurement:
        return Measurement(self._widest, self._widest)

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        self._width = options.max_width
        return ()

    def written(self, *, last: bool) -> Iterator[list[Segment]]:
        """What is written for each device, up to the next column or line."""
        padding = " " if self._width else ""  # where rich finds no room for a column, there is none for its padding
        end = "\n" if last else f"{padding} "
        segments = {shown: self._segments(*shown, end) for shown in self._distinct}
        return map(segments.__getitem__, self._cells)

    def _segments(self, text: str, style: str, end: str) -> list[Segment]:
        text = self._fitted(text)
        return [Segment(text, Style.parse(style)), Segment(end)] if style else [Segment(text + end)]

    def _fitted(self, text: str) -> str:
        spare = self._width - cell_len(text)
        if spare < 0:
            # The outer one for a column without any width, which has no room for the dots.
            return set_cell_size(set_cell_size(text, self._width - 1) + "…", self._width)
        return text + " " * spare if self._shrinks else " " * spare + text


def _is_same(column: _Column, shown: _Shown, before: Device | None, now: datetime) -> bool:
    return before is not None and column.cell(before, now)[0] == shown[0]


def _standing_out(shown: _Shown) -> _Shown:
    return shown[0], f"{shown[1]} reverse".lstrip()


def _text(value: str | None, limit: int = _LONGEST_TEXT, style: str = "") -> _Shown:
    return (clean(value, limit).rstrip(), style) if value else _MISSING


def _state(device: Device, _now: datetime) -> _Shown:
    return f"{STATE_SIGNS[device.state]} {device.state}", STATE_STYLES[device.state]


def _last_heard(device: Device, now: datetime) -> _Shown:
    return _MISSING if device.last_update is None else (ago(device.last_update, now), "")


def _temperature(device: Device, _now: datetime) -> _Shown:
    celsius = device.cpu_temp_celsius
    if celsius is None:
        return _text(device.cpu_temp, _LONGEST_READING)
    return number(celsius, "°C"), heat(celsius)


def _cpu(device: Device, _now: datetime) -> _Shown:
    return _MISSING if device.cpu_percent is None else (number(device.cpu_percent, "%"), "")


def _memory(device: Device, _now: datetime) -> _Shown:
    if device.mem_percent is not None:
        return number(device.mem_percent, "%"), ""
    if device.mem_used_bytes is not None:
        return byte_count(device.mem_used_bytes), ""
    return _text(device.mem_usage, _LONGEST_READING)


def _wifi(device: Device, _now: datetime) -> _Shown:
    down = (device.wifi_status or "").casefold() in _DISCONNECTED
    return _text(device.wifi_status, style="red" if down else "")


def _address(device: Device, _now: datetime) -> _Shown:
    return _text(address(device.net_ifaces))


def _byte_counter(name: str) -> Callable[[Device, datetime], _Shown]:
    def cell(device: Device, _now: datetime) -> _Shown:
        count = getattr(device, name)
        return _MISSING if count is None else (byte_count(count), "")

    return cell


def _counter(name: str) -> Callable[[Device, datetime], _Shown]:
    def cell(device: Device, _now: datetime) -> _Shown:
        count = getattr(device, name)
        return _MISSING if count is None else (counted(count), "")

    return cell


def _warnings(device: Device, _now: datetime) -> _Shown:
    count = len(device.report_warnings) if isinstance(device.report_warnings, list) else 0
    return (str(count), "yellow") if count else _MISSING


# Each from the width on that typical rows need, with ids such as raspberry-01 and addresses such as 192.168.0.10.
_ALL_COLUMNS = (
    _Column("Device", lambda device, _now: _text(device.raspberry_id), shrinks=True),
    _Column("State", _state, shrinks=True),
    _Column("Last heard", _last_heard),
    _Column("Temp", _temperature, from_width=46),
    _Column("CPU", _cpu, from_width=54),
    _Column("Memory", _memory, from_width=62),
    _Column("Address", _address, from_width=76, shrinks=True),
    _Column("Wi-Fi", _wifi, from_width=90, shrinks=True),
    _Column("Sent", _byte_counter("net_bytes_sent"), from_width=111),
    _Column("Received", _byte_counter("net_bytes_recv"), from_width=111),
    _Column("USB", _counter("usb_devices_count"), from_width=123),
    _Column("GPIO", _counter("gpio_used_count"), from_width=123),
    _Column("Warnings", _warnings, from_width=133),
)
