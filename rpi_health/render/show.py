"""All that is known of one device, in groups."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rpi_health.device import Device, interfaces
from rpi_health.metric import USUAL, Bucket, Metric, Range
from rpi_health.render.units import (
    STATE_SIGNS,
    STATE_STYLES,
    WARM,
    ago,
    byte_count,
    counted,
    duration,
    figure,
    figures,
    heat,
    instant,
)
from rpi_health.text import clean

_BARS = "▁▂▃▄▅▆▇█"
_LONGEST, _LONGEST_NAME, _LONGEST_READING = 200, 40, 10
_MISSING = Text("–", style="dim")
_Line = tuple[str, Text]


def device(found: Device, day: Sequence[Bucket], now: datetime) -> RenderableType:
    """The device as groups of lines: a name, and what is known.

    Args:
        day: its last 24 hours in equal spans, those without a report included: the ranges of `metric.USUAL`.
        now: aware; what "12 s ago" counts from.
    """
    groups = {
        "": _heard(found, now),
        "Health": _health(found, day),
        "Network": _network(found),
        "Buses and devices": _buses(found),
        "LEDs": _leds(found),
        "Other fields": _others(found),
        "Warnings of the last report": _warnings(found),
    }
    shown: list[RenderableType] = [Text(clean(found.raspberry_id), style="bold")]
    for title, group in groups.items():
        lines = list(group)
        if lines:
            shown += [Text(f"\n{title}", style="bold")] if title else []
            shown.append(_grid(lines))
    return Group(*shown)


def _grid(lines: Sequence[_Line]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="dim", min_width=14)
    grid.add_column(overflow="fold")
    for name, value in lines:
        grid.add_row(Text(f"  {name}"), value)
    return grid


def _heard(found: Device, now: datetime) -> Iterator[_Line]:
    yield "State", Text(f"{STATE_SIGNS[found.state]} {found.state}", style=STATE_STYLES[found.state])
    heard = found.last_update
    yield "Last heard", _MISSING if heard is None else Text(f"{ago(heard, now)} ({instant(heard)} UTC)")
    if found.reported_at is not None:
        yield "Report of", Text(f"{instant(found.reported_at)} UTC")
    if found.first_seen is not None:
        yield "First seen", Text(f"{instant(found.first_seen)} UTC")
    if found.interval_s is not None:
        yield "Reports each", Text(duration(found.interval_s))


def _health(found: Device, day: Sequence[Bucket]) -> Iterator[_Line]:
    latest: dict[str, tuple[float | None, str | None]] = {
        "temp": (found.cpu_temp_celsius, found.cpu_temp),
        "cpu": (found.cpu_percent, None),
        "mem": (found.mem_used_bytes, None if found.mem_percent is not None else found.mem_usage),
        "mem-percent": (found.mem_percent, None),
    }
    for position, metric in enumerate(USUAL):
        value, sent = latest[metric.name]
        bars = _sparkline([bucket.values[position] for bucket in day], metric)
        if value is not None or sent or bars.plain or metric.name in ("temp", "cpu"):
            shown = _figure(value, metric.unit) if value is not None else _text(sent, _LONGEST_READING)
            yield metric.title, Text.assemble(shown, " " * max(0, _LONGEST_READING + 2 - shown.cell_len), bars)
    yield "Wi-Fi", _text(found.wifi_status)


def _figure(value: float, unit: str) -> Text:
    return Text(figure(value, unit), style=heat(value) if unit == "°C" else "")


def _sparkline(day: Sequence[Range | None], metric: Metric) -> Text:
    """The means of a day as bars, a gap for each span without a value, and the range that they are within."""
    known = [values for values in day if values is not None]
    if not known:
        return Text()
    least, most = min(values.least for values in known), max(values.most for values in known)
    bars = "".join(" " if values is None else _bar(values.mean, least, most) for values in day)
    return Text.assemble((bars, "cyan"), (f"  {figures((least, most), metric.unit, ' … ')}", "dim"))


def _bar(value: float, least: float, most: float) -> str:
    share = (value - least) / (most - least) if most > least else 0
    return _BARS[min(len(_BARS) - 1, int(share * len(_BARS)))]


def _network(found: Device) -> Iterator[_Line]:
    known = interfaces(found.net_ifaces)
    for name, addresses in known:
        yield clean(name, _LONGEST_NAME), _text(", ".join(addresses))
    if not known and found.net_ifaces:
        yield "as sent", _json(found.net_ifaces)
    for name, count in (("Sent", found.net_bytes_sent), ("Received", found.net_bytes_recv)):
        if count is not None:
            yield name, Text(byte_count(count))


def _buses(found: Device) -> Iterator[_Line]:
    for name, buses in (("SPI", found.spi_buses), ("I²C", found.i2c_buses)):
        if buses is not None:
            yield name, _listed(buses)
    for name, count in (("GPIO used", found.gpio_used_count), ("USB devices", found.usb_devices_count)):
        if count is not None:
            yield name, Text(counted(count))


def _listed(value: Any) -> Text:
    """A list of texts as people write it; anything else as JSON."""
    if value == []:
        return Text("none")
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return _text(", ".join(value))
    return _json(value)


def _leds(found: Device) -> Iterator[_Line]:
    for name, is_on in (("internal", found.led_internal_status), ("external", found.led_external_status)):
        yield name, _MISSING if is_on is None else Text("on" if is_on else "off", style="green" if is_on else "")


def _others(found: Device) -> Iterator[_Line]:
    fields = found.extra if isinstance(found.extra, dict) else {}
    for name, value in fields.items():
        yield clean(name, _LONGEST_NAME), _text(value) if isinstance(value, str) else _json(value)


def _warnings(found: Device) -> Iterator[_Line]:
    for line in found.report_warnings if isinstance(found.report_warnings, list) else []:
        yield "", Text(clean(str(line), _LONGEST), style=WARM)


def _text(value: str | None, limit: int = _LONGEST) -> Text:
    return Text(clean(value, limit)) if value else _MISSING


def _json(value: Any) -> Text:
    return Text(clean(json.dumps(value, ensure_ascii=False), _LONGEST))
