"""What reads the options that take a duration, or a time: an instant, or how long ago."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

import click

from rpi_health.durations import parse_duration_s

_LONGEST_SPAN_S = 366 * 86_400
_SHORTEST_PERIOD_S, _LONGEST_PERIOD_S = 0.2, 3600.0


def instant(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> datetime:
    """Read `24h` (ago), `2026-01-31` or `2026-01-31T12:00Z`; without an offset it is UTC. Without a value: now.

    Returns: an aware instant, in UTC.
    """
    now = datetime.now(timezone.utc)
    text = (value or "0s").strip()
    try:
        return now - timedelta(seconds=parse_duration_s(text))
    except (ValueError, OverflowError):
        pass
    try:
        at = datetime.fromisoformat(text[:-1] + "+00:00" if text[-1:] in ("Z", "z") else text)
        return at.replace(tzinfo=timezone.utc) if at.tzinfo is None else at.astimezone(timezone.utc)
    except (ValueError, OverflowError) as error:
        what = "give how long ago, as 24h or 30d, or a time, as 2026-01-31T12:00Z"
        raise click.BadParameter(f"{text!r}: {what}.") from error


def age(ctx: click.Context, parameter: click.Parameter, value: str | None) -> datetime:
    """The same for what is to be deleted: `30` alone would be seconds, and is refused."""
    if value is not None and re.fullmatch(r"\s*[0-9.]+\s*", value):
        raise click.BadParameter(f"{value!r} has no unit: give a duration such as 30d or 12h.")
    return instant(ctx, parameter, value)


def span_s(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    """Read `90s`, `5m` or `24h`. Returns: whole seconds, at least one and at most those of a year."""
    if value is None:
        return None
    seconds = _seconds(value)
    if not 1 <= seconds <= _LONGEST_SPAN_S or seconds != int(seconds):
        raise click.BadParameter(f"{value!r}: give a duration of whole seconds, such as 30s, 5m or 24h.")
    return int(seconds)


def period_s(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    """Read `2` or `0.5s`: how often something is done. Returns: seconds, at most those of an hour."""
    if value is None:
        return None
    seconds = _seconds(value)
    if not _SHORTEST_PERIOD_S <= seconds <= _LONGEST_PERIOD_S:
        least, most = f"{_SHORTEST_PERIOD_S:g}", f"{_LONGEST_PERIOD_S:g}"
        raise click.BadParameter(f"{value!r}: give seconds from {least} to {most}, such as 2 or 0.5.")
    return seconds


def _seconds(text: str) -> float:
    """A duration in seconds; what is none is too short for any use."""
    try:
        return parse_duration_s(text)
    except ValueError:
        return 0.0
