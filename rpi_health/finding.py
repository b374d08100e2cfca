"""What an examination of a set-up finds: one step after the other, from here to a stored row. No I/O of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Optional

from rpi_health.errors import RpiHealthError

#: It works; it works, and yet somebody should look; it does not.
OK, WARNING, BROKEN = "ok", "warning", "broken"


class Seen(NamedTuple):
    """What one step found.

    Args:
        verdict: `ok`, `warning` or `broken`.
        says: what there is; where something is wrong, with what mends it. One line, without passwords.
        details: more lines, for who wants to know.
    """

    verdict: str
    says: str
    details: Sequence[str] = ()


class Finding(NamedTuple):
    """The same, with where it belongs.

    Args:
        area: what was examined, such as `database sqlite:///fleet.db`.
        step: what was tried, such as `login`.
        exit_status: of a command that ends because of it; 0 unless it is broken.
    """

    area: str
    step: str
    verdict: str
    says: str
    details: Sequence[str]
    exit_status: int


_Steps = Mapping[str, Callable[[], Optional[Seen]]]


def walk(
    area: str, steps: _Steps, exit_status: int, translate: Callable[[Exception], RpiHealthError]
) -> Iterator[Finding]:
    """Go from step to step. One that raises is broken, and the last: what comes after it needs it.

    Args:
        steps: by name; one that returns None has nothing to say.
        exit_status: of a step that says itself that something is broken.
        translate: gives the error, whose message has the cure, for whatever a step raises.
    """
    for step, look in steps.items():
        try:
            seen = look()
        except Exception as error:
            trouble = translate(error)
            yield Finding(area, step, BROKEN, " ".join(str(trouble).split()), (), trouble.exit_status)
            return
        if seen is not None:
            yield Finding(area, step, *seen, exit_status if seen.verdict == BROKEN else 0)
