"""`config`: what it shows is what counts, and what it prints as an example is right."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from rpi_health.config import Config, read
from rpi_health.durations import duration_text, parse_duration_s
from rpi_health.settings import SETTINGS
from tests.command import Cli

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SECRET = "s3cret-canary"


def test_each_setting_is_shown_with_its_origin_and_no_password(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "rpi-health.toml"
    file.write_text('batch_size = 7\nretention = "90d"\n')
    env = {"RPI_HEALTH_QUEUE": "own", "RPI_HEALTH_AMQP_PASSWORD": SECRET, "RPI_HEALTH_CONFIG": str(file)}
    done = cli("config", "show", "--json", "--log-level", "debug", env=env)
    assert (done.returncode, done.stderr) == (0, "")
    rows = {row["setting"]: (row["value"], row["origin"]) for row in json.loads(done.stdout)}
    assert list(rows) == [setting.name for setting in SETTINGS]
    assert rows["batch_size"] == ("7", f"batch_size in {file}, line 1")
    assert rows["retention"] == ("90d", f"retention in {file}, line 2")
    assert rows["queue"] == ("own", "environment variable RPI_HEALTH_QUEUE")
    assert rows["log_level"] == ("debug", "--log-level")
    assert rows["prefetch"] == ("14", "default")
    assert rows["park_after"] == ("5m", "default")
    assert rows["amqp_password"][0] == "***"
    table = cli("config", "show", "--log-level", "debug", env={**env, "COLUMNS": "400"})
    assert SECRET not in done.stdout + table.stdout
    for name, (value, origin) in rows.items():
        if name not in ("amqp_url", "database_url"):
            assert re.search(rf"^{name} +{re.escape(value or '–')} +{re.escape(origin)}", table.stdout, re.MULTILINE)


def test_example_is_a_comment_until_a_line_is_taken_out_of_it(cli: Cli, tmp_path: Path) -> None:
    printed = cli("config", "example").stdout
    assert all(not line or line.startswith("#") for line in printed.splitlines())
    assert max(len(line) for line in printed.splitlines() if line.startswith("# ")) <= 120
    file = tmp_path / "config.toml"
    file.write_text(printed)
    assert read(config_file=file, environ={}).model_dump() == Config().model_dump()
    printed = printed.replace('#amqp_url = "amqp://', '#amqp_url = "amqps://')  # else its certificates are of no use
    file.write_text("\n".join(line[1:] if re.match(r"#\w+ = ", line) else line for line in printed.splitlines()))
    assert list(tomllib.loads(file.read_text())) == [setting.name for setting in SETTINGS]
    config = read(config_file=file, environ={})
    same = set(Config.model_fields) - {"amqp_username", "amqp_password", "amqp_urls", "database_url"}
    same -= {"amqp_ca_file", "amqp_cert_file", "amqp_key_file", "metrics_addr"}
    assert {name: getattr(config, name) for name in same} == {name: getattr(Config(), name) for name in same}


def test_path_is_that_of_the_file_that_is_read_or_would_be(cli: Cli, tmp_path: Path) -> None:
    home = {"XDG_CONFIG_HOME": str(tmp_path / "own"), "XDG_CONFIG_DIRS": str(tmp_path / "system")}
    own = tmp_path / "own" / "rpi-health" / "config.toml"
    done = cli("config", "path", env=home)
    assert (done.returncode, done.stdout) == (0, f"{own}\n")
    assert "`rpi-health config example` prints one" in done.stderr
    own.parent.mkdir(parents=True)
    own.write_text("")
    done = cli("config", "path", env=home)
    assert (done.stdout, done.stderr) == (f"{own}\n", "")
    other = tmp_path / "other.toml"
    other.write_text("")
    assert cli("config", "path", "--config", str(other), env=home).stdout == f"{other}\n"


def test_wrong_setting_is_an_error_that_names_its_origin(cli: Cli) -> None:
    done = cli("config", "show", env={"RPI_HEALTH_BATCH_SIZE": "many"})
    assert (done.returncode, done.stdout) == (3, "")
    assert "batch_size is 'many' (environment variable RPI_HEALTH_BATCH_SIZE)" in done.stderr


def test_durations_are_written_as_they_are_read() -> None:
    written = {0: "0s", 0.1: "0.1s", 90: "90s", 300: "5m", 5400: "90m", 86_400: "1d", 2_592_000: "30d", 3600: "1h"}
    for seconds, text in written.items():
        assert duration_text(seconds) == text
        assert parse_duration_s(text) == seconds
