"""The wheel at work, in an environment and a folder that know nothing of the checkout."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.packaging.distributions import Distributions, run
from tests.packaging.installation import Installation

# All that a user may import. The migrations are no modules: Alembic loads them. The monitor needs an extra.
IMPORT_ALL = """
import importlib, pkgutil, rpi_health
for module in pkgutil.walk_packages(rpi_health.__path__, "rpi_health."):
    if module.name not in ("rpi_health.__main__", "rpi_health.monitor"):
        importlib.import_module(module.name)
"""
CONSUMER = """
from rpi_health import ConsumerHandle, shared, start_consumer_thread

handle: ConsumerHandle = start_consumer_thread()
untyped: int = handle  # type: ignore[assignment]
print(len(shared.received_messages))
handle.stop()
"""


def test_version_is_that_of_the_metadata(installed: Installation, built: Distributions) -> None:
    done = installed.command("--version")
    assert (done.returncode, done.stdout) == (0, f"rpi-health {built.metadata.version}\n")


def test_runs_as_a_module(installed: Installation) -> None:
    done = installed.run(installed.python, "-m", "rpi_health", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert all(command in done.stdout for command in ("init-db", "consume", "publish-test", "status"))


def test_every_module_is_found_and_loads_without_extras(installed: Installation) -> None:
    place = installed.evaluate(IMPORT_ALL + "print(rpi_health.__file__)")
    assert installed.environment in Path(place).parents


def test_alembic_is_still_the_library(installed: Installation) -> None:
    place = Path(installed.evaluate("import rpi_health.migrations, alembic; print(alembic.__file__)"))
    assert place.parts[-3:] == ("site-packages", "alembic", "__init__.py")


def test_migrations_run_in_any_folder_and_twice(installed: Installation) -> None:
    database = ("--database-url", f"sqlite:///{installed.home / 'fleet.db'}")
    for said in ("Created the tables", "The tables are up to date"):
        done = installed.command(*database, "init-db")
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        assert said in done.stderr
    done = installed.command(*database, "status", "--json")
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


def test_missing_library_for_metrics_names_the_extra(installed: Installation) -> None:
    database = ("--database-url", f"sqlite:///{installed.home / 'metrics.db'}")
    installed.command(*database, "init-db")
    done = installed.command(*database, "consume", "--metrics-addr", "127.0.0.1:0")
    assert (done.returncode, done.stdout) == (3, "")
    assert "pip install 'rpi-health[metrics]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("scheme", "extra"), [("postgresql", "postgresql"), ("mysql", "mysql"), ("mariadb", "mysql")])
def test_missing_driver_names_the_extra(installed: Installation, scheme: str, extra: str) -> None:
    done = installed.command("--database-url", f"{scheme}://user:very-secret@localhost/fleet", "init-db")
    assert (done.returncode, done.stdout) == (5, ""), done.stderr
    assert f"pip install 'rpi-health[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert "very-secret" not in done.stderr


def test_type_checker_sees_the_types(installed: Installation) -> None:
    program = installed.home / "program.py"
    program.write_text(CONSUMER)
    mypy = (sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir=cache")
    run(*mypy, "--python-executable", str(installed.python), program.name, cwd=installed.home)
