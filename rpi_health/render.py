"""What people see: facts of the fleet as rich tables. No SQL. All text passes `clean`; none is ever markup."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from rpi_health.device import Device, address
from rpi_health.text import clean

#: CPU temperatures in °C from which a device is shown as warm and as hot. A Pi throttles at 80.
WARM_CELSIUS = 75.0
HOT_CELSIUS = 80.0
_MISSING = Text("–", style="dim")
_LONGEST_CELL = 200

_DISCONNECTED = frozenset({"disconnected", "down", "off", "offline"})


def fleet(devices: Sequence[Device], now: datetime, console: Console) -> RenderableType:
    """The fleet as a table as wide as the terminal allows, in the order given.

    Args:
        devices: the rows.
        now: aware; what "12 s ago" counts from.
        console: tells the width.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), header_style="bold", show_edge=False)
    for column in (columns := _columns(console.width)):
        table.add_column(column.title, justify=column.justify, no_wrap=True, overflow="ellipsis", ratio=column.ratio)
    for device in devices:
        table.add_row(*(column.cell(device, now) for column in columns))
    return table


def summary(devices: Sequence[Device], now: datetime) -> Text:
    """One line about all of them."""
    temperatures = [device.cpu_temp_celsius for device in devices if device.cpu_temp_celsius is not None]
    hot = sum(celsius >= HOT_CELSIUS for celsius in temperatures)
    warm = sum(WARM_CELSIUS <= celsius < HOT_CELSIUS for celsius in temperatures)
    heard = [device.last_update for device in devices if device.last_update is not None]
    parts = [Text(f"{len(devices)} device{'' if len(devices) == 1 else 's'}", style="bold")]
    parts += [Text(f"{hot} hot (≥ {HOT_CELSIUS:.0f} °C)", style="bold red")] if hot else []
    parts += [Text(f"{warm} warm (≥ {WARM_CELSIUS:.0f} °C)", style="yellow")] if warm else []
    parts += [Text(f"last report {ago(max(heard), now)}")] if heard else []
    return Text(" · ").join(parts)


def ago(then: datetime, now: datetime) -> str:
    """How long ago, in the largest unit that fits: `12 s ago`, `5 min ago`, `3 h ago`, `2 d ago`."""
    seconds = max(0, int((now - then).total_seconds()))
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds // size} {unit} ago"
    return f"{seconds // 86400} d ago"


def byte_count(count: int) -> str:
    """Bytes in decimal units, with three digits: `102 kB`, `1.50 GB`."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if amount < 999.5 or unit == "PB":
            digits = 0 if unit == "B" or amount >= 99.95 else 1 if amount >= 9.995 else 2
            return f"{amount:.{digits}f} {unit}"
        amount /= 1000
    raise AssertionError("unreachable")


class _Column(NamedTuple):
    title: str
    justify: Literal["left", "right"]
    cell: Callable[[Device, datetime], Text]
    from_width: int = 0
    ratio: int | None = None


def _text(value: object, style: str = "") -> Text:
    return _MISSING if value is None else Text(clean(str(value), _LONGEST_CELL), style=style)


def _last_heard(device: Device, now: datetime) -> Text:
    return _MISSING if device.last_update is None else Text(ago(device.last_update, now))


def _temperature(device: Device, _now: datetime) -> Text:
    celsius = device.cpu_temp_celsius
    if celsius is None:
        return _text(device.cpu_temp)
    style = "bold red" if celsius >= HOT_CELSIUS else "yellow" if celsius >= WARM_CELSIUS else "green"
    return Text(f"{celsius:.1f} °C", style=style)


def _cpu(device: Device, _now: datetime) -> Text:
    return _MISSING if device.cpu_percent is None else Text(f"{device.cpu_percent:.1f} %")


def _memory(device: Device, _now: datetime) -> Text:
    if device.mem_percent is not None:
        return Text(f"{device.mem_percent:.1f} %")
    return _text(device.mem_usage)


def _wifi(device: Device, _now: datetime) -> Text:
    down = (device.wifi_status or "").casefold() in _DISCONNECTED
    return _text(device.wifi_status, style="red" if down else "")


def _counter(name: str) -> Callable[[Device, datetime], Text]:
    def cell(device: Device, _now: datetime) -> Text:
        count = getattr(device, name)
        return _MISSING if count is None else Text(byte_count(count))

    return cell


def _plain(name: str) -> Callable[[Device, datetime], Text]:
    return lambda device, _now: _text(getattr(device, name))


def _warnings(device: Device, _now: datetime) -> Text:
    count = len(device.report_warnings) if isinstance(device.report_warnings, list) else 0
    return Text(str(count), style="yellow") if count else _MISSING


_ALL_COLUMNS = (
    _Column("Device", "left", lambda device, _now: _text(device.raspberry_id), ratio=1),
    _Column("Last heard", "right", _last_heard),
    _Column("Temp", "right", _temperature),
    _Column("CPU", "right", _cpu),
    _Column("Memory", "right", _memory),
    _Column("Wi-Fi", "left", _wifi),
    _Column("Address", "left", lambda device, _now: _text(address(device.net_ifaces))),
    _Column("Sent", "right", _counter("net_bytes_sent"), from_width=100),
    _Column("Received", "right", _counter("net_bytes_recv"), from_width=100),
    _Column("USB", "right", _plain("usb_devices_count"), from_width=110),
    _Column("GPIO", "right", _plain("gpio_used_count"), from_width=110),
    _Column("Warnings", "right", _warnings, from_width=120),
)


def _columns(width: int) -> list[_Column]:
    return [column for column in _ALL_COLUMNS if width >= column.from_width]
