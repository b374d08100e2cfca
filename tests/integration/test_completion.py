"""Completion in a real shell: commands, options and ids of devices; nothing that the shell would act on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from datetime import datetime, timezone
from pathlib import Path

import pytest

from rpi_health.database import create_engine
from rpi_health.payload import decode
from rpi_health.report import Envelope
from rpi_health.store import Store
from tests.command import SCRIPT, Cli

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
HOSTILE = ["pi-$(reboot)", "pi-`x`", "pi-;x", "pi- x", "pi-'", 'pi-"', "pi-\\", "pi-|x", "pi-*", "-pi", "pi-\u202ex"]


@pytest.fixture
def env(cli: Cli, sqlite_url: str) -> dict[str, str]:
    """A database with devices, ordinary and hostile ones; the environment that leads there."""
    found = {"RPI_HEALTH_DATABASE_URL": sqlite_url, "PATH": f"{SCRIPT.parent}{os.pathsep}{os.environ['PATH']}"}
    assert cli("init-db", env=found).returncode == 0
    engine = create_engine(sqlite_url, writer=True)
    store = Store(engine)
    ids = ["pi-01", "pi-02", "greenhouse:1", *HOSTILE]
    bodies = [json.dumps({"id": each}).encode() for each in ids if "\u202e" not in each]
    assert store.write([decode(body, Envelope(NOW, body)) for body in bodies]) == []
    store.close()
    engine.dispose()
    return found


def completed(cli: Cli, env: dict[str, str], line: str) -> list[str]:
    """What bash offers for the last word of a line, by the script that `completion bash` prints."""
    script = cli("completion", "bash", env=env)
    assert script.returncode == 0
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    program = f"""
    {script.stdout}
    COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}
    _rpi_health_completion rpi-health
    printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "-c", program], env=cli._env(env), cwd=cli.folder, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("rpi-health his", ["history"]),
        ("rpi-health history --si", ["--since"]),
        ("rpi-health show pi-", ["pi-01", "pi-02"]),
        ("rpi-health history green", ["greenhouse:1"]),
        ("rpi-health forget pi-01", ["pi-01"]),
        ("rpi-health show nobody", []),
        ("rpi-health show *", []),
        ("rpi-health history pi-01 --metric c", ["cpu"]),
    ],
)
def test_bash_completes(cli: Cli, env: dict[str, str], line: str, expected: list[str]) -> None:
    assert completed(cli, env, line) == expected


def test_id_on_which_a_shell_would_act_is_not_offered(cli: Cli, env: dict[str, str]) -> None:
    assert completed(cli, env, "rpi-health show ") == ["greenhouse:1", "pi-01", "pi-02"]


def test_database_that_cannot_be_asked_is_no_error(cli: Cli, env: dict[str, str], tmp_path: Path) -> None:
    for url in (f"sqlite:///{tmp_path}/none.db", "postgresql://nobody@127.0.0.1:1/none", "nonsense"):
        assert completed(cli, {**env, "RPI_HEALTH_DATABASE_URL": url}, "rpi-health show pi") == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_a_script(cli: Cli, env: dict[str, str], shell: str) -> None:
    script = cli("completion", shell, env=env)
    assert (script.returncode, script.stderr) == (0, "")
    assert "_RPI_HEALTH_COMPLETE" in script.stdout
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script.stdout, text=True, check=True)
