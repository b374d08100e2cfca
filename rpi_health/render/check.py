"""The fleet as a monitoring system wants it: a line, a status, and figures (Nagios' plugin guidelines)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from rpi_health.device import Device
from rpi_health.presence import Overview
from rpi_health.render.status import why_unheard
from rpi_health.render.units import HOT_CELSIUS, WARM_CELSIUS, number
from rpi_health.text import clean

OK, WARNING, CRITICAL, UNKNOWN = range(4)
_STATUSES = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
_MOST_NAMED = 5


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
    offline = [device for device in devices if device.state == "offline"]
    late = [device for device in devices if device.state == "late"]
    findings = []
    if offline:
        status = CRITICAL if len(offline) > limits.max_offline else WARNING
        findings.append(_Finding(status, f"{len(offline)} of {len(devices)} offline ({_named(offline)})"))
    if late:
        findings.append(_Finding(WARNING, f"{len(late)} late ({_named(late)})"))
    return findings


def _warm(devices: Sequence[Device], limits: Limits) -> list[_Finding]:
    warm = [each for each in _measured(devices) if (each.cpu_temp_celsius or 0) >= limits.warn_celsius]
    hot = [each for each in _measured(devices) if (each.cpu_temp_celsius or 0) >= limits.crit_celsius]
    if hot:
        return [_Finding(CRITICAL, f"{len(hot)} hot ({_named(hot, with_temperature=True)})")]
    return [_Finding(WARNING, f"{len(warm)} warm ({_named(warm, with_temperature=True)})")] if warm else []


def _measured(devices: Sequence[Device]) -> list[Device]:
    """Those that tell a temperature, the hottest first."""
    known = [each for each in devices if each.cpu_temp_celsius is not None and each.state != "offline"]
    return sorted(known, key=lambda each: -(each.cpu_temp_celsius or 0))


def _named(devices: Sequence[Device], *, with_temperature: bool = False) -> str:
    names = [
        f"{clean(each.raspberry_id, 40)} {number(each.cpu_temp_celsius or 0, '°C')}"
        if with_temperature
        else clean(each.raspberry_id, 40)
        for each in devices[:_MOST_NAMED]
    ]
    return ", ".join(names + ["…"] * (len(devices) > _MOST_NAMED))


def _figures(devices: Sequence[Device], limits: Limits) -> str:
    """Performance data: name=value;warning;critical;least;most."""
    states = [device.state for device in devices]
    most = len(devices)
    figures = [
        f"online={states.count('online')};;;0;{most}",
        f"late={states.count('late')};0;;0;{most}",
        f"offline={states.count('offline')};0;{limits.max_offline};0;{most}",
    ]
    hottest = _measured(devices)[:1]
    # Without a unit, since that of a temperature is none that the guidelines know.
    figures += [
        f"temp_max={each.cpu_temp_celsius:g};{limits.warn_celsius:g};{limits.crit_celsius:g}" for each in hottest
    ]
    return " ".join(figures)
