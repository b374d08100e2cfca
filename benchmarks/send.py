"""Publish reports at a pace, each dated with the moment of its publishing: `python -m benchmarks.send`.

One device a message, whose ids sort as they are sent: that is how `benchmarks.watch` knows what is new.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import random
import time
from collections.abc import Iterator

import pika

from benchmarks.messages import report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--amqp-url", required=True)
    parser.add_argument("--queue", required=True)
    parser.add_argument("--messages", type=int, required=True)
    pace = parser.add_mutually_exclusive_group(required=True)
    pace.add_argument("--rate", type=float, help="messages a second, evenly")
    pace.add_argument("--pause-ms", type=float, nargs=2, metavar=("LEAST", "MOST"), help="between two; at random")
    args = parser.parse_args()
    waits_s = _evenly(args.rate) if args.rate else _at_random(*args.pause_ms)
    properties = pika.BasicProperties(delivery_mode=2, content_type="application/json")
    parameters = pika.URLParameters(args.amqp_url)
    parameters.heartbeat = 0  # nothing but publishing is done here
    with contextlib.closing(pika.BlockingConnection(parameters)) as connection:
        channel = connection.channel()
        for number, wait_s in zip(range(args.messages), waits_s):
            time.sleep(wait_s)
            fields = report(number, round(time.time(), 6), number)
            channel.basic_publish("", args.queue, json.dumps(fields, ensure_ascii=False).encode(), properties)


def _evenly(rate: float) -> Iterator[float]:
    """Seconds to wait before each message, so that they keep to the rate, whatever sending them takes."""
    start = time.perf_counter()
    for number in itertools.count():
        yield max(0.0, start + number / rate - time.perf_counter())


def _at_random(least_ms: float, most_ms: float) -> Iterator[float]:
    while True:
        yield random.uniform(least_ms, most_ms) / 1000


if __name__ == "__main__":
    main()
