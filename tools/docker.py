"""A throw-away RabbitMQ in a container, for machines with a Docker engine and no RabbitMQ of their own."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator

from tools.servers.process import ServerError, wait_until
from tools.servers.rabbitmq import RabbitMQ, greets

IMAGE = "rabbitmq:3"


def engine_runs() -> bool:
    """Whether there is a docker command and an engine behind it that answers."""
    if shutil.which("docker") is None:
        return False
    with contextlib.suppress(subprocess.TimeoutExpired):
        return subprocess.run(["docker", "info"], capture_output=True, timeout=20, check=False).returncode == 0
    return False


@contextlib.contextmanager
def rabbitmq() -> Iterator[str]:
    """The URL of a RabbitMQ in a container of its own, on a free port of 127.0.0.1; removed in the end.

    Raises:
        ServerError: docker could not run it.
    """
    user = f"RABBITMQ_DEFAULT_USER={RabbitMQ.USERNAME}"
    password = f"RABBITMQ_DEFAULT_PASS={RabbitMQ.PASSWORD}"
    run = ["run", "--detach", "--rm", "--publish", "127.0.0.1::5672", "--env", user, "--env", password, IMAGE]
    container = _docker(*run)
    try:
        port = int(_docker("port", container, "5672/tcp").splitlines()[0].rpartition(":")[2])
        wait_until(lambda: greets("127.0.0.1", port), 120, "RabbitMQ to serve in its container")
        yield f"amqp://{RabbitMQ.USERNAME}:{RabbitMQ.PASSWORD}@127.0.0.1:{port}/%2F"
    finally:
        _docker("rm", "--force", "--volumes", container)


def _docker(*args: str) -> str:
    done = subprocess.run(["docker", *args], stdout=subprocess.PIPE, stderr=sys.stderr, text=True, check=False)
    if done.returncode != 0:
        raise ServerError(f"docker {args[0]}: exit status {done.returncode}")
    return done.stdout.strip()
