"""One build and one installation for all tests of the packaging."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.packaging import distributions, installation
from tests.packaging.distributions import Distributions
from tests.packaging.installation import Installation


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """The wheel and the sdist of this checkout. Not to be changed."""
    if not (distributions.ROOT / ".git").exists():
        pytest.skip("what belongs to the project is asked of git, and this is no checkout")
    return distributions.build(tmp_path_factory.mktemp("built"))


@pytest.fixture(scope="session")
def environment(built: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The wheel, installed without extras."""
    folder = tmp_path_factory.mktemp("environment")
    return installation.install(built.wheel, folder, folder)


@pytest.fixture
def installed(environment: Installation, tmp_path: Path) -> Installation:
    """The wheel, installed without extras; its commands run in an empty folder of the test's own."""
    return Installation(environment.environment, tmp_path)
