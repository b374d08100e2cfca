"""The limit of the client library: pika receives, acks 500 at a time, and does nothing else."""

from __future__ import annotations

from typing import Any

import pika

from benchmarks.yardsticks.clock import Clock, options

PREFETCH = 2000
ACK_EVERY = 500


def main() -> None:
    args = options(__doc__, messages=60_000).parse_args()
    clock = Clock("noop", args.messages)

    def on_message(channel: Any, method: Any, _properties: object, _body: bytes) -> None:
        clock.first()
        if (clock.seen + 1) % ACK_EVERY == 0 or clock.seen + 1 == args.messages:
            channel.basic_ack(method.delivery_tag, multiple=True)
        if clock.count():
            connection.close()

    def on_channel(channel: Any) -> None:
        channel.basic_qos(prefetch_count=PREFETCH)
        channel.basic_consume(args.queue, on_message)

    connection = pika.SelectConnection(
        pika.URLParameters(args.amqp_url),
        on_open_callback=lambda opened: opened.channel(on_open_callback=on_channel),
        on_close_callback=lambda closed, _reason: closed.ioloop.stop(),
    )
    connection.ioloop.start()


if __name__ == "__main__":
    main()
