"""The word to the service manager that started the process: ready, how it is, still alive, stopping.

The protocol is that of systemd's sd_notify(3), which other service managers know as well: a datagram of `NAME=value`
lines to a socket that they name.
"""

from __future__ import annotations

import contextlib
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
        self._alive_every_s = watchdog_s / 2 if watchdog_s else None
        self._alive_at = 0.0
        self._is_ready = False
        self._status = ""

    def tell(self, health: Health) -> None:
        """Tell how the consumer is: for every turn, since only what is due or has changed is said."""
        if self._address is None:
            return
        status = health.reasons[0] if health.reasons else _WELL
        lines: list[str] = []
        if health.is_ready and not self._is_ready:
            self._is_ready = True
            lines.append("READY=1")
        if status != self._status:
            self._status = status
            lines.append("STATUS=" + " ".join(status.split()))
        if health.is_live and self._is_due():
            lines.append("WATCHDOG=1")
        self._send(lines)

    def stopping(self) -> None:
        """Tell that the process is about to end."""
        self._send(["STOPPING=1", "STATUS=Storing what is in hand."])

    def _is_due(self) -> bool:
        now = time.monotonic()
        if self._alive_every_s is None or now - self._alive_at < self._alive_every_s:
            return False
        self._alive_at = now
        return True

    def _send(self, lines: list[str]) -> None:
        if self._address is None or not lines:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        # A service manager that is gone cannot be told; one that misses us acts by itself.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wire:
            wire.sendto("\n".join(lines).encode(), address)
