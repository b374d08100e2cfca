"""The units for systemd: right for systemd's own checks, and for what the command does."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rpi_health import errors
from tests.command import SCRIPT, Cli
from tests.deployment.files import CLOSING_S, ROOT, default_s, known_variables, variables_in

UNITS = sorted((ROOT / "contrib" / "systemd").iterdir())
EXECUTABLE = "/opt/rpi-health/bin/rpi-health"
#: Of `systemd-analyze security`, in tenths: from 0, nothing is allowed, to 100, everything is.
MOST_EXPOSED = 15

every_unit = pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")


def directives(unit: Path) -> list[tuple[str, str]]:
    """The keys of a unit with their values, in order; a key may come again."""
    lines = [line for line in unit.read_text().splitlines() if re.match(r"\w+=", line)]
    return [(key, value) for key, _, value in (line.partition("=") for line in lines)]


def value(unit: Path, key: str) -> str:
    return dict(directives(unit))[key]


def installed(unit: Path, folder: Path) -> str:
    """The path of a copy whose executable exists, and in which what was left as an example is done."""
    copy = folder / unit.name
    done = re.sub(r"^#(?=\w+=)", "", unit.read_text(), flags=re.MULTILINE)
    copy.write_text(done.replace(EXECUTABLE, sys.executable))
    return str(copy)


def analyze(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *args], capture_output=True, text=True, timeout=60, check=False)


@needs_systemd
@every_unit
def test_systemd_has_nothing_to_say_against_it(unit: Path, tmp_path: Path) -> None:
    done = analyze("verify", "--man=no", installed(unit, tmp_path))
    about_it = [line for line in done.stderr.splitlines() if unit.stem in line]
    assert (done.returncode, about_it) == (0, []), done.stderr


@needs_systemd
@every_unit
def test_little_of_the_system_is_exposed_to_it(unit: Path, tmp_path: Path) -> None:
    security = ("security", "--offline=true", "--no-pager", f"--threshold={MOST_EXPOSED}")
    done = analyze(*security, installed(unit, tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr


@every_unit
def test_command_is_one_that_there_is(unit: Path, cli: Cli) -> None:
    program, command, *options = shlex.split(value(unit, "ExecStart"))
    assert program == EXECUTABLE
    assert Path(program).name == SCRIPT.name
    done = cli(command, *options, "--help")
    assert done.returncode == 0, done.stderr


@every_unit
def test_variables_are_settings(unit: Path) -> None:
    named = variables_in(unit.read_text())
    assert named
    assert named <= known_variables()


@every_unit
def test_consumer_has_time_to_store_what_it_holds(unit: Path) -> None:
    assert float(value(unit, "TimeoutStopSec")) > default_s("drain_timeout") + CLOSING_S


@every_unit
def test_start_is_given_up_by_the_consumer_and_not_by_systemd(unit: Path) -> None:
    assert float(value(unit, "TimeoutStartSec")) > default_s("startup_timeout")


@every_unit
def test_restarts_but_for_what_a_restart_does_not_mend(unit: Path) -> None:
    usage = 2
    for_good = {usage, errors.ConfigurationError.exit_status, errors.SchemaNotCurrent.exit_status}
    assert {int(status) for status in value(unit, "RestartPreventExitStatus").split()} == for_good
    assert (value(unit, "Restart"), value(unit, "StartLimitIntervalSec")) == ("always", "0")


def test_several_are_run_as_one_is() -> None:
    (one, several) = (set(directives(unit)) for unit in sorted(UNITS, key=lambda unit: "@" in unit.name))
    assert {key for key, _ in one - several} == {"Description"}
    assert {key for key, value in several - one if "%i" in value} == {"Description", "Environment"}
    assert len(several - one) == 2
