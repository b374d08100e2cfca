"""What the wheel tells to pip, and to who looks for it in an index."""

from __future__ import annotations

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.packaging.distributions import Distributions
from tools.unit_matrix import VERSIONS

RUNTIME = {
    "alembic",
    "click",
    "pika",
    "platformdirs",
    "plotext",
    "pydantic",
    "python-json-logger",
    "rich",
    "sqlalchemy",
    "tomli",
}
EXTRAS = {
    "postgresql": {"psycopg"},
    "mysql": {"pymysql"},
    "metrics": {"prometheus-client"},
    "all": {"psycopg", "pymysql", "prometheus-client"},
}


def requirements(built: Distributions) -> list[Requirement]:
    return [Requirement(line) for line in built.metadata.requires or []]


def needed(built: Distributions, extra: str = "", python: str = VERSIONS[-1]) -> set[str]:
    """The projects that pip installs besides, on a version of Python."""
    environment = {"extra": extra, "python_version": python}
    wanted = [one for one in requirements(built) if one.marker is None or one.marker.evaluate(environment)]
    return {canonicalize_name(one.name) for one in wanted}


def test_promised_pythons_are_those_that_are_tested(built: Distributions) -> None:
    prefix = "Programming Language :: Python :: 3."
    classifiers = built.metadata.metadata.get_all("Classifier") or []
    assert [f"3.{name[len(prefix) :]}" for name in classifiers if name.startswith(prefix)] == list(VERSIONS)
    assert built.metadata.metadata["Requires-Python"] == f">={VERSIONS[0]}"


def test_runtime_dependencies_are_these(built: Distributions) -> None:
    assert needed(built, python="3.10") == RUNTIME
    assert needed(built, python="3.11") == RUNTIME - {"tomli"}


def test_every_dependency_has_a_lower_bound(built: Distributions) -> None:
    for requirement in requirements(built):
        assert ">=" in {specifier.operator for specifier in requirement.specifier}, str(requirement)


def test_extras_bring_the_drivers(built: Distributions) -> None:
    assert set(built.metadata.metadata.get_all("Provides-Extra") or []) == set(EXTRAS)
    assert {extra: needed(built, extra) - needed(built) for extra in EXTRAS} == EXTRAS


@pytest.mark.parametrize(("machine", "extras"), [("x86_64", {"binary"}), ("aarch64", {"binary"}), ("armv7l", set())])
def test_postgresql_driver_needs_no_compiler(built: Distributions, machine: str, extras: set[str]) -> None:
    environment = {"platform_machine": machine, "extra": "postgresql"}
    drivers = [one for one in requirements(built) if one.name == "psycopg" and one.marker is not None]
    assert [one.extras for one in drivers if one.marker.evaluate(environment)] == [extras]


def test_license_is_an_expression_with_its_file(built: Distributions) -> None:
    metadata = built.metadata.metadata
    assert (metadata["License-Expression"], metadata.get_all("License-File")) == ("MIT", ["LICENSE"])


def test_description_is_the_readme(built: Distributions) -> None:
    headers, _, description = (built.metadata.read_text("METADATA") or "").partition("\n\n")
    assert "Description-Content-Type: text/markdown" in headers.splitlines()
    assert description == (built.source / "README.md").read_text(encoding="utf-8")
