"""``make demo``: twenty simulated Pis, from an empty database to the status table, with the installed command.

Starts a private broker (or a container; or uses the broker of RPI_HEALTH_AMQP_URL) and stops what it started.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import NoReturn, cast

from tools import docker
from tools.servers import RabbitMQ, ServerError, ServerMissing
from tools.servers.rabbitmq import find_script

COMMAND = Path(sys.executable).with_name("rpi-health")
QUEUE = "rpi_health_demo"

STEPS = [
    ["init-db"],
    ["publish-test", "--id", "pi-01", "--devices", "20", "--count", "20"],
    ["publish-test", "--id", "pi-02", "--devices", "9", "--count", "9", "--set", 'cpu_temp="55.2°C"'],
    ["publish-test", "--id", "pi-07", "--set", 'cpu_temp="81.5°C"', "--set", "cpu_percent=97.3"],
    ["publish-test", "--id", "pi-12", "--set", 'cpu_temp="76.0°C"', "--set", 'mem_usage="91%"'],
    ["publish-test", "--id", "pi-16", "--set", 'wifi_status="disconnected"', "--set", "net_ifaces=[]"],
    ["consume", "--until-empty"],
    ["status"],
]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def broker() -> contextlib.AbstractContextManager[dict[str, str]]:
    """A broker for the time of the demo, as the settings that lead to it.

    Raises:
        ServerMissing: there is neither RabbitMQ nor a Docker engine.
    """
    if os.environ.get("RPI_HEALTH_AMQP_URL"):
        return borrowed_broker()
    try:
        find_script("rabbitmq-server")
    except ServerMissing:
        if not docker.engine_runs():
            raise
        return container()
    return private_broker()


@contextlib.contextmanager
def borrowed_broker() -> Iterator[dict[str, str]]:
    """The user's own broker: only queues of the demo's own name are touched, and they are deleted in the end."""
    say(f"Using the broker of RPI_HEALTH_AMQP_URL, and on it the queue {QUEUE}.")
    settings = {name: value for name, value in os.environ.items() if name.startswith("RPI_HEALTH_AMQP_")}
    try:
        yield {**settings, "RPI_HEALTH_QUEUE": QUEUE, "RPI_HEALTH_DEAD_LETTER_QUEUE": f"{QUEUE}.dead"}
    finally:
        delete_queues(settings)


@contextlib.contextmanager
def container() -> Iterator[dict[str, str]]:
    say("Starting RabbitMQ in a container …")
    with docker.rabbitmq() as url:
        yield {"RPI_HEALTH_AMQP_URL": url}


@contextlib.contextmanager
def private_broker() -> Iterator[dict[str, str]]:
    say("Starting a private RabbitMQ on free ports …")
    with RabbitMQ() as server:
        yield {"RPI_HEALTH_AMQP_URL": server.url}


def delete_queues(settings: Mapping[str, str]) -> None:
    """Best effort: the demo has shown what it had to show, or has already said why not."""
    import pika  # only there in the virtual environment, and only needed for a broker that outlives the demo

    logging.getLogger("pika").setLevel(logging.CRITICAL)
    try:
        parameters = pika.URLParameters(settings["RPI_HEALTH_AMQP_URL"].split(",")[0].strip())
        in_url = cast("pika.PlainCredentials", parameters.credentials)
        username = settings.get("RPI_HEALTH_AMQP_USERNAME", in_url.username)
        password = settings.get("RPI_HEALTH_AMQP_PASSWORD", in_url.password)
        parameters.credentials = pika.PlainCredentials(username, password)
        with contextlib.closing(pika.BlockingConnection(parameters)) as connection:
            channel = connection.channel()
            for queue in (QUEUE, f"{QUEUE}.dead"):
                channel.queue_delete(queue, if_unused=True)  # no error when there is none
    except Exception as error:
        say(f"The queue {QUEUE} may be left on that broker: {type(error).__name__}.")


def settings_of_demo(folder: Path, broker_settings: Mapping[str, str]) -> dict[str, str]:
    """The environment of the commands: none of the caller's own settings, nor of their config file."""
    no_config = folder / "config.toml"
    no_config.touch()
    own = {name: value for name, value in os.environ.items() if not name.startswith("RPI_HEALTH_")}
    database = {"RPI_HEALTH_DATABASE_URL": f"sqlite:///{folder / 'fleet.db'}"}
    return {**own, "RPI_HEALTH_CONFIG": str(no_config), **database, **broker_settings}


def show(env: Mapping[str, str]) -> None:
    """Run the steps, each after its command line, until one fails.

    Raises:
        subprocess.CalledProcessError: one failed.
    """
    for step in STEPS:
        say(f"\n$ {shlex.join(['rpi-health', *step])}")
        subprocess.run([COMMAND, *step], env=env, check=True)


def end(signal_number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + signal_number)


def main() -> int:
    signal.signal(signal.SIGTERM, end)  # so that what was started is stopped then, too
    try:
        with tempfile.TemporaryDirectory(prefix="rpi-health-demo-") as folder, broker() as broker_settings:
            show(settings_of_demo(Path(folder), broker_settings))
    except subprocess.CalledProcessError as error:
        say(f"\n{shlex.join(map(str, error.cmd))}: exit status {error.returncode}")
        return 1
    except ServerError as error:
        say(f"\n{error}")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
