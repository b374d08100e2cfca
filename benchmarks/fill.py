"""Fill a durable queue with reports, persistent and confirmed: `python -m benchmarks.fill`.

A process of its own, so that what publishing takes is nobody else's memory or CPU.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from itertools import islice

import pika

from benchmarks.messages import bodies

#: So many messages or bytes at most in one transaction of the broker. Its commit confirms them all in one round trip.
TRANSACTION = 1000
TRANSACTION_BYTES = 8 * 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--amqp-url", required=True)
    parser.add_argument("--queue", required=True)
    parser.add_argument("--messages", type=int, required=True)
    parser.add_argument("--devices", type=int, required=True)
    parser.add_argument("--anew", action="store_true", help="delete the queue first, with what is in it")
    parser.add_argument("--first", type=int, default=0, help="number of the first message")
    parser.add_argument("--shuffled", action="store_true", help="devices at random, not in turn")
    parser.add_argument("--size-bytes", type=int, default=0, help="size of each body; default: as it is")
    args = parser.parse_args()
    properties = pika.BasicProperties(delivery_mode=2, content_type="application/json")
    pending = bodies(
        args.messages,
        args.devices,
        now_s=time.time(),
        first=args.first,
        shuffled=args.shuffled,
        size_bytes=args.size_bytes,
    )
    transaction = min(TRANSACTION, TRANSACTION_BYTES // max(args.size_bytes, 1))
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(args.amqp_url))) as connection:
        channel = connection.channel()
        if args.anew:
            channel.queue_delete(args.queue)
        channel.queue_declare(args.queue, durable=True)
        channel.tx_select()
        while chunk := list(islice(pending, transaction)):
            for body in chunk:
                channel.basic_publish("", args.queue, body, properties)
            channel.tx_commit()


if __name__ == "__main__":
    main()
