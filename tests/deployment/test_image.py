"""The Dockerfile: as a linter wants it, without rights, and with a check that tells a healthy consumer from another."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import metadata
from pathlib import Path

import pytest

from rpi_health import migrations
from rpi_health.cli.group import COMMANDS
from rpi_health.health import Health
from rpi_health.monitor import Server, Site
from tests.amqp import Amqp
from tests.command import SCRIPT, Cli
from tests.consuming import Consuming
from tests.deployment.files import (
    DOCKERFILE,
    ROOT,
    copied,
    health_check,
    image_environment,
    instructions,
    known_variables,
    values,
    variables_in,
)
from tools.servers.process import free_ports

# As the development dependencies have it.
HAS_LINTER = sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64")


@pytest.mark.skipif(not HAS_LINTER, reason="hadolint is not packaged for this machine")
def test_linter_finds_nothing() -> None:
    linter = Path(sysconfig.get_path("scripts"), "hadolint")
    done = subprocess.run([linter, DOCKERFILE], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_docker_sees_what_is_copied_and_nothing_else() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    assert sorted(line[1:] for line in lines if line.startswith("!")) == sorted(copied())


@pytest.mark.parametrize("source", copied())
def test_what_is_copied_exists(source: str) -> None:
    assert (ROOT / source).exists()


def test_second_stage_takes_the_environment_that_the_first_has_made() -> None:
    (taken,) = (value for value in values("COPY") if value.startswith("--from=build"))
    folder = taken.split()[1]
    made = [step.value for step in instructions() if step.name == "RUN" and f"python -m venv {folder} " in step.value]
    assert made
    assert image_environment()["PATH"].split(":")[0] == f"{folder}/bin"


def test_runs_as_a_numbered_user_that_is_not_root() -> None:
    user, group = values("USER")[-1].split(":")
    assert int(user) > 0
    assert int(group) > 0
    assert f"--uid {user} " in "".join(values("RUN"))


def test_bases_have_the_tag_of_a_version() -> None:
    (argument,) = values("ARG")
    name, _, version = argument.partition("=")
    assert {value.split()[0] for value in values("FROM")} == {f"python:${{{name}}}-slim"}
    assert f"Programming Language :: Python :: {version}" in (ROOT / "pyproject.toml").read_text()


def test_starts_the_command_without_a_shell_that_would_keep_the_stop_signal() -> None:
    (entrypoint,), (command,) = (json.loads(*values(name)) for name in ("ENTRYPOINT", "CMD"))
    assert entrypoint == SCRIPT.name
    assert command in COMMANDS
    assert values("STOPSIGNAL") == ["SIGTERM"]


def test_labels_say_what_the_package_says() -> None:
    (labels,) = values("LABEL")
    project = metadata("rpi-health")
    for label, key in (("title", "Name"), ("description", "Summary"), ("licenses", "License-Expression")):
        assert f'image.{label}="{project[key]}"' in labels


def test_variables_are_settings() -> None:
    assert variables_in(DOCKERFILE.read_text()) <= known_variables()


def test_health_is_asked_where_it_is_served() -> None:
    port = image_environment()["RPI_HEALTH_METRICS_ADDR"].rpartition(":")[2]
    assert values("EXPOSE") == [port]
    assert f"'127.0.0.1', {port}," in health_check()[-1]


# ── The check itself ──────────────────────────────────────────────────────────────────────────────────────────────────


def checked(port: int) -> int:
    """The exit status of the check, by this Python and at this port."""
    (exposed,) = values("EXPOSE")
    python, *args = health_check()
    assert python == "python"
    # A proxy must not be asked for what is on this machine.
    environment = {**os.environ, "http_proxy": "http://127.0.0.1:9"}
    command = [sys.executable, *(arg.replace(exposed, str(port)) for arg in args)]
    return subprocess.run(command, env=environment, capture_output=True, timeout=30, check=False).returncode


@pytest.fixture
def server_of(request: pytest.FixtureRequest) -> Iterator[int]:
    """The port of what a consumer serves whose health is the parameter."""
    with closing(Server(("127.0.0.1", 0), Site(lambda: request.param, []))) as server:
        yield int(server.address.rpartition(":")[2])


@pytest.mark.parametrize("server_of", [Health(), Health(not_ready=("The broker is away.",))], indirect=True)
def test_consumer_that_can_make_progress_is_healthy(server_of: int) -> None:
    assert checked(server_of) == 0


@pytest.mark.parametrize("server_of", [Health(not_live=("A thread hangs.",))], indirect=True)
def test_consumer_that_hangs_is_not_healthy(server_of: int) -> None:
    assert checked(server_of) == 1


def test_without_a_consumer_nothing_is_healthy(closed_port: int) -> None:
    assert checked(closed_port) == 1


def test_consumer_as_the_image_starts_it_is_healthy(cli: Cli, amqp: Amqp, sqlite_url: str) -> None:
    migrations.upgrade(sqlite_url)
    (port,) = free_ports(1)
    own = {"RPI_HEALTH_METRICS_ADDR": f":{port}", "RPI_HEALTH_DATABASE_URL": sqlite_url}
    consumer = Consuming(cli, {**amqp.env, **own})
    consumer.wait_for("serving")
    assert checked(port) == 0
