"""What travels in the wheel and in the sdist, and what does not."""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath

import pytest

from tests.deployment.files import copied
from tests.packaging.distributions import Distributions, build_wheel, sdist_names, wheel_files


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def content(wheel: Path) -> dict[str, bytes]:
    """All but what tells which version of the build backend was at work."""
    by_backend = {"RECORD", "WHEEL"}
    files = wheel_files(wheel).items()
    return {name: content for name, content in files if PurePosixPath(name).name not in by_backend}


def test_wheel_has_the_package_and_the_migrations_and_nothing_else(built: Distributions) -> None:
    package = {f"rpi_health/{name}" for name in files_below(built.source / "rpi_health")}
    migrations = {f"rpi_health/alembic/{name}" for name in files_below(built.source / "alembic")}
    info = f"rpi_health-{built.metadata.version}.dist-info/"
    names = set(wheel_files(built.wheel))
    assert {name for name in names if not name.startswith(info)} == package | migrations
    assert {f"{info}licenses/LICENSE", f"{info}entry_points.txt"} < names


def test_migrations_are_no_package_that_could_shadow_alembic(built: Distributions) -> None:
    names = set(wheel_files(built.wheel))
    assert {"rpi_health/alembic/env.py", "rpi_health/alembic/script.py.mako"} < names
    assert [name for name in names if name.startswith("rpi_health/alembic/") and name.endswith("__init__.py")] == []


def test_wheel_says_that_it_is_typed(built: Distributions) -> None:
    assert "rpi_health/py.typed" in wheel_files(built.wheel)


def test_wheel_from_the_sdist_is_the_wheel_from_the_checkout(built: Distributions, tmp_path: Path) -> None:
    assert content(build_wheel(built.sdist, tmp_path)) == content(built.wheel)


def test_wheel_from_what_the_image_copies_is_the_wheel_from_the_checkout(built: Distributions, tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    for name in copied():
        copy = shutil.copytree if (built.source / name).is_dir() else shutil.copy
        copy(built.source / name, context / name)
    assert content(build_wheel(context, tmp_path)) == content(built.wheel)


@pytest.mark.parametrize(
    "folder", ["rpi_health", "alembic", "docs", "tests", "tools", "benchmarks", "examples", "contrib"]
)
def test_sdist_has_all_of_a_folder(built: Distributions, folder: str) -> None:
    expected = {f"{folder}/{name}" for name in files_below(built.source / folder)}
    assert expected
    assert expected <= sdist_names(built.sdist)


def test_sdist_has_what_a_developer_needs(built: Distributions) -> None:
    expected = {
        ".dockerignore",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "Dockerfile",
        "LICENSE",
        "Makefile",
        "README.md",
        "compose.yaml",
        "pyproject.toml",
    }
    assert expected <= sdist_names(built.sdist)
