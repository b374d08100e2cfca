"""`rpi-health consume`."""

from __future__ import annotations

import gc

import click

from rpi_health.cli import settings

_OBJECTS_BETWEEN_COLLECTIONS = 20_000


@click.command("consume")
@click.option("--until-empty", is_flag=True, help="Stop when the queue is drained.")
@click.option("--max-messages", type=click.IntRange(min=1), metavar="N", help="Stop after N messages.")
@settings.own_setting_options("consume")
@settings.setting_options
@click.pass_context
def command(ctx: click.Context, until_empty: bool, max_messages: int | None) -> None:
    """Take health checks from the queue into the database.

    Runs until SIGTERM or Ctrl-C: a first signal finishes what is in hand, a second one ends the process at once. A
    message is acknowledged after it was committed. What is no health check goes to the dead-letter queue with its
    reason.
    """
    config = settings.load(ctx)
    from rpi_health import app, embed
    from rpi_health.supervisor import Supervisor

    consumer = app.make_consumer(config, until_empty=until_empty, max_messages=max_messages)
    # What is here now stays as long as the process, and a batch is thousands of objects that reference counts free:
    # looking through all of them for cycles again and again would cost a tenth of all the time.
    gc.freeze()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    with app.monitored(config, consumer):
        embed.run_until_signal(consumer, config.drain_timeout_s, Supervisor(config.notify_socket, config.watchdog_s))
