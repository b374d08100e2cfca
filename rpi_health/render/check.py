"""The fleet as a monitoring system wants it: a line, a status, and figures (Nagios' plugin guidelines)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from rpi_health.device import HOT_CELSIUS, WARM_CELSIUS, Device
from rpi_health.presence import Overview
from rpi_health.render.status import why_unheard
from rpi_health.render.units import number
from rpi_health.text import clean

OK, WARNING, CRITICAL, UNKNOWN = range(4)
_STATUSES = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
_MOST_NAMED, _LONGEST_NAME = 5, 40


class Limits(NamedTuple):
    """What is wrong.

    Args:
        warn_celsius, crit_celsius: CPU temperatures from which it is a warning, and critical.
        max_offline: so many devices may be offline before it is critical.
    """

    warn_celsius: float = WARM_CELSIUS
    crit_celsius: float = HOT_CELSIUS
    max_offline: int = 0


class _Finding(NamedTuple):
    status: int
    text: str


def line(status: int, text: str, figures: str = "") -> str:
    """What a plugin prints. What could begin the figures stands in the text as another sign."""
    text = clean(text).replace("|", "¦")
    return f"RPI-HEALTH {_STATUSES[status]} - {text}{f' | {figures}' if figures else ''}"


def check(devices: Sequence[Device], overview: Overview, now: datetime, limits: Limits) -> tuple[int, str]:
    """The exit status, 0 to 3, and the line.

    Args:
        devices: those that are to be checked; an offline one's last temperature does not count.
        now: aware.
    """
    if not devices:
        return UNKNOWN, line(UNKNOWN, "No such device has reported.")
    findings = [*_silent(devices, limits), *_warm(devices, limits)]
    if not overview.is_heard(now):
        findings.append(_Finding(WARNING, why_unheard(now, overview).rstrip(".")))
    status = max((finding.status for finding in findings), default=OK)
    # The worst is what one should read on a pager.
    said = [finding.text for finding in sorted(findings, key=lambda finding: -finding.status)]
    online = sum(device.state == "online" for device in devices)
    return status, line(status, "; ".join(said or [f"{online} of {len(devices)} online"]), _figures(devices, limits))


def _silent(devices: Sequence[Device], limits: Limits) -> list[_Finding]:
    offline = [_name(device) for device in devices if device.state == "offline"]
    late = [_name(device) for device in devices if device.state == "late"]
    findings = []
    if offline:
        status = CRITICAL if len(offline) > limits.max_offline else WARNING
        findings.append(_Finding(status, f"{len(offline)} of {len(devices)} offline ({_listed(offline)})"))
    if late:
        findings.append(_Finding(WARNING, f"{len(late)} late ({_listed(late)})"))
    return findings


def _warm(devices: Sequence[Device], limits: Limits) -> list[_Finding]:
    measured = _measured(devices)
    hot = [name for name, celsius in measured if celsius >= limits.crit_celsius]
    warm = [name for name, celsius in measured if celsius >= limits.warn_celsius]
    if hot:
        return [_Finding(CRITICAL, f"{len(hot)} hot ({_listed(hot)})")]
    return [_Finding(WARNING, f"{len(warm)} warm ({_listed(warm)})")] if warm else []


def _measured(devices: Sequence[Device]) -> list[tuple[str, float]]:
    """The temperatures that are known, the hottest first, each with what it is called."""
    known = [
        (f"{_name(each)} {number(each.cpu_temp_celsius, '°C')}", each.cpu_temp_celsius)
        for each in devices
        if each.cpu_temp_celsius is not None and each.state != "offline"
    ]
    return sorted(known, key=lambda each: -each[1])


def _name(device: Device) -> str:
    return clean(device.raspberry_id, _LONGEST_NAME)


def _listed(names: Sequence[str]) -> str:
    return ", ".join([*names[:_MOST_NAMED], *["…"] * (len(names) > _MOST_NAMED)])


def _figures(devices: Sequence[Device], limits: Limits) -> str:
    """Performance data: name=value;warning;critical;least;most."""
    states = [device.state for device in devices]
    most = len(devices)
    figures = [
        f"online={states.count('online')};;;0;{most}",
        f"late={states.count('late')};0;;0;{most}",
        f"offline={states.count('offline')};0;{limits.max_offline};0;{most}",
    ]
    # Without a unit, since that of a temperature is none that the guidelines know.
    for _, celsius in _measured(devices)[:1]:
        figures.append(f"temp_max={celsius:g};{limits.warn_celsius:g};{limits.crit_celsius:g}")
    return " ".join(figures)
