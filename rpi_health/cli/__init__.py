"""The command line: one short file a command. Nothing heavy is imported before a command that needs it runs."""

from rpi_health.cli.group import main

__all__ = ["main"]
