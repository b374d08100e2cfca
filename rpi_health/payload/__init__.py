"""Bytes in, a report or a rejection out: the message format, in code. Pure: no clock, socket, database, environment."""

from rpi_health.payload.decoder import decode, decode_all

__all__ = ["decode", "decode_all"]
