"""Waiting for something to become true, with a deadline. Tests never sleep for a while and hope."""

from __future__ import annotations

from tools.servers.process import wait_until

__all__ = ["wait_until"]
