"""The word to the service manager that started the process: ready, how it is, still alive, stopping.

The protocol is that of systemd's sd_notify(3), which other service managers know as well: a datagram of `NAME=value`
lines to a socket that they name.
"""

from __future__ import annotations

import contextlib
import math
import socket
import time

from rpi_health.health import Health

_WELL = "Taking and storing messages."


class Supervisor:
    """Tells what it is told, if somebody listens. For one thread.

    Args:
        address: of the socket; `@` at the beginning stands for the abstract namespace. None: nobody listens.
        watchdog_s: after so long without a word the process is taken for dead. None: it never is.
    """

    def __init__(self, address: str | None, watchdog_s: float | None = None) -> None:
        self._address = address
        self._alive_every_s = watchdog_s / 2 if watchdog_s else math.inf
        self._alive_from = 0.0 if watchdog_s else math.inf
        self._is_ready = False
        self._status = ""

    def tell(self, health: Health) -> None:
        """Tell how the consumer is: for every turn, since only what is due or has changed is said."""
        if self._address is None:
            return
        status = health.reasons[0] if health.reasons else _WELL
        is_ready = self._is_ready or health.is_ready
        is_alive = health.is_live and time.monotonic() >= self._alive_from
        lines: list[str] = []
        if is_ready and not self._is_ready:
            lines.append("READY=1")
        if status != self._status:
            lines.append("STATUS=" + " ".join(status.split()))
        if is_alive:
            lines.append("WATCHDOG=1")
        # What did not arrive is said again the next time.
        if lines and self._send(lines):
            self._is_ready, self._status = is_ready, status
            if is_alive:
                self._alive_from = time.monotonic() + self._alive_every_s

    def stopping(self) -> None:
        """Tell that the process is about to end."""
        self._send(["STOPPING=1", "STATUS=Storing what is in hand."])

    def _send(self, lines: list[str]) -> bool:
        """Whether it arrived."""
        if self._address is None:
            return False
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        # A service manager that is gone cannot be told, nor one that is too busy to listen: to wait for it would be to
        # hang, deaf to signals. One that misses us acts by itself.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wire:
            wire.setblocking(False)
            wire.sendto("\n".join(lines).encode(), address)
            return True
        return False
