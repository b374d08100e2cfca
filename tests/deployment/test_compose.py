"""The Compose file: right for Compose, for the settings, and for more than one consumer."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import pytest
import yaml

from rpi_health.durations import parse_duration_s
from tests.deployment.files import CLOSING_S, COMPOSE, default_s, known_variables, values, variables_in

SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text())["services"]
OURS = ("migrate", "consumer")

every_one_of_ours = pytest.mark.parametrize("name", OURS)


def has_compose() -> bool:
    docker = shutil.which("docker")
    version = ["docker", "compose", "version"]
    return docker is not None and subprocess.run(version, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not has_compose(), reason="there is no docker compose here")
def test_compose_reads_it() -> None:
    config = ["docker", "compose", "--file", str(COMPOSE), "config", "--quiet"]
    done = subprocess.run(config, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_variables_are_settings() -> None:
    named = variables_in(COMPOSE.read_text())
    assert named
    assert named <= known_variables()


@every_one_of_ours
def test_container_may_do_nothing_that_it_need_not(name: str) -> None:
    service = SERVICES[name]
    assert (service["read_only"], service["tmpfs"], service["cap_drop"]) == (True, "/tmp", ["ALL"])
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_consumers_start_once_the_tables_are_made() -> None:
    assert SERVICES["migrate"]["command"] == "init-db"
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert SERVICES["consumer"]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


def test_tables_are_made_by_the_version_and_in_the_database_of_the_consumers() -> None:
    first, second = (SERVICES[name] for name in OURS)
    for key in ("image", "build", "environment"):
        assert first[key] == second[key]


def test_several_consumers_do_not_compete_for_a_name_or_a_port() -> None:
    consumer = SERVICES["consumer"]
    (exposed,) = values("EXPOSE")
    assert not {"container_name", "hostname"} & set(consumer)
    assert consumer["ports"] == [f"127.0.0.1::{exposed}"]


def test_consumer_has_time_to_store_what_it_holds() -> None:
    given_s = parse_duration_s(SERVICES["consumer"]["stop_grace_period"])
    assert given_s > default_s("drain_timeout") + CLOSING_S


def test_images_have_the_tag_of_a_version() -> None:
    tags = [service["image"].partition(":")[2] for name, service in SERVICES.items() if name not in OURS]
    assert [tag for tag in tags if not tag[:1].isdigit()] == []


def test_every_volume_is_kept_by_name() -> None:
    kept = set(yaml.safe_load(COMPOSE.read_text())["volumes"])
    mounted = {volume.partition(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert mounted == kept
