"""Passwords appear in nothing that is shown: not in URLs, representations, errors, tracebacks or log lines."""

from __future__ import annotations

import io
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rpi_health import logs
from rpi_health.config import Config, read
from rpi_health.errors import ConfigurationError
from rpi_health.urls import redact_url

CANARY = "p@ss:w/rd%é"
ENCODED = quote(CANARY, safe="")
#: Pieces that no output may hold: the whole in each spelling, and the parts that careless splitting leaves.
TRACES = (CANARY, ENCODED, ENCODED.lower(), "p@ss", "ss:w", "w/rd", "rd%é", "p%40ss", "rd%25")


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CONFIG_DIRS"):
        monkeypatch.setenv(variable, str(tmp_path))


@pytest.fixture
def _loggers() -> Iterator[None]:
    saved = [(log, log.level, log.propagate, log.handlers[:]) for log in map(logging.getLogger, ("rpi_health", "pika"))]
    yield
    for log, level, propagate, handlers in saved:
        log.setLevel(level)
        log.propagate, log.handlers = propagate, handlers


def assert_no_trace(text: str) -> None:
    assert [trace for trace in TRACES if trace in text] == []


@pytest.mark.parametrize(
    ("url", "redacted"),
    [
        ("amqp://u:p@h:5672/%2F", "amqp://u:***@h:5672/%2F"),
        ("amqp://u:p@h,amqps://v:q@i", "amqp://u:***@h,amqps://v:***@i"),
        ("amqp://u:p@h, amqps://v:q@i", "amqp://u:***@h, amqps://v:***@i"),
        ("amqp://h:5672/x", "amqp://h:5672/x"),
        ("amqp://u@h", "amqp://u@h"),
        ("amqp://:p@h", "amqp://:***@h"),
        ("amqp://u:@h", "amqp://u:***@h"),
        ("amqp://[::1]:5672", "amqp://[::1]:5672"),
        ("amqp://u:p@[::1]:5672", "amqp://u:***@[::1]:5672"),
        ("amqp://u:p@ss@h", "amqp://u:***@h"),
        ("amqp://u:p/a?b#c@h/v", "amqp://u:***@h/v"),
        ("amqp://u:secret", "amqp://u:***"),
        ("amqp://u:secret/v", "amqp://u:***"),
        ("amqp://u:p@ss:word", "amqp://u:***"),
        ("amqp://u@h:secret", "amqp://u@h:***"),
        ("u:secret", "u:***"),
        ("u:secret@h", "u:***@h"),
        ("amqp:/u:secret@h", "amqp:***@h"),
        ("sqlite:////var/lib/x.sqlite3", "sqlite:////var/lib/x.sqlite3"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("postgresql://h/d?user=u&password=p&sslmode=require", "postgresql://h/d?user=u&password=***&sslmode=require"),
        ("postgresql://u:p@h/d?sslpassword=q", "postgresql://u:***@h/d?sslpassword=***"),
        ("mysql://h/d?PASSWD=a&b&c=1", "mysql://h/d?PASSWD=***&c=1"),
        ("mysql://h/d?pass%77ord=p", "mysql://h/d?pass%77ord=***"),
        ("amqps://h?ssl_options=%7B%27password%27%3A+%27p%27%7D&heartbeat=5", "amqps://h?ssl_options=***&heartbeat=5"),
        ("", ""),
        ("://", "://"),
        ("@", "@"),
        (":@", ":***@"),
    ],
)
def test_password_of_a_url_is_masked(url: str, redacted: str) -> None:
    assert redact_url(url) == redacted


@given(st.text())
def test_redaction_of_any_text_does_not_fail_and_is_final(text: str) -> None:
    assert redact_url(redact_url(text)) == redact_url(text)


@given(st.text(min_size=8).filter(lambda text: "://" not in text))
def test_any_password_however_written_is_masked(password: str) -> None:
    for written in (password, quote(password, safe="", errors="replace")):
        assert redact_url(f"amqp://user:{written}@host:5672/%2F") == "amqp://user:***@host:5672/%2F"


@pytest.mark.parametrize(
    "flags",
    [
        {"amqp_password": CANARY},
        {"amqp_url": f"amqp://user:{ENCODED}@host/%2F,amqp://user:{ENCODED.lower()}@other"},
        {"database_url": f"postgresql://user:{ENCODED}@host/name"},
        {"database_url": f"postgresql://host/name?user=u&password={ENCODED}"},
        {"database_url": "postgresql://user:p:w/rd%25@host/name"},
    ],
)
def test_config_shows_no_password(flags: dict[str, object]) -> None:
    config = read(flags, environ={})
    for shown in (repr(config), str(config), f"{config}", *(str(config.redacted(name)) for name in flags)):
        assert_no_trace(shown)
        assert "***" in shown


def test_config_gives_the_real_values_to_those_who_connect() -> None:
    config = read({"amqp_password": CANARY}, environ={})
    assert config.amqp_password == CANARY
    assert config.amqp_urls == (f"amqp://athavus:{ENCODED}@localhost:5672/%2F",)


def test_missing_password_is_not_shown_as_one() -> None:
    assert read(environ={}).redacted("amqp_password") is None


def test_secrets_are_every_password_in_every_spelling() -> None:
    config = read(
        {
            "amqp_url": "amqp://a:from%40url@h,amqp://b:second@h",
            "database_url": f"postgresql://u:data%2Fbase@h/d?sslpassword={ENCODED}",
        },
        environ={},
    )
    assert {"from@url", "from%40url", "second", "data/base", "data%2Fbase", CANARY, ENCODED} <= config.secrets
    assert "" not in config.secrets


def test_overriding_password_is_a_secret() -> None:
    assert {CANARY, ENCODED} <= read({"amqp_password": CANARY}, environ={}).secrets


def test_url_without_password_has_no_secret() -> None:
    flags = {"amqp_url": "amqp://host:5672/%2F", "database_url": "sqlite:////var/lib/x.sqlite3"}
    assert read(flags, environ={}).secrets == frozenset()


WRONG = [
    {"RPI_HEALTH_AMQP_URL": f"amqp://user:{CANARY}@host:5672/%2F"},
    {"RPI_HEALTH_AMQP_URL": f"amqp://good,amqp://user:{ENCODED}@host:99999"},
    {"RPI_HEALTH_AMQP_URL": f"amqp://user:{ENCODED}@"},
    {"RPI_HEALTH_AMQP_URL": f"amqp://user:{ENCODED}@[::1"},
    {"RPI_HEALTH_AMQP_URL": f"amqp://user:{CANARY}"},
    {"RPI_HEALTH_AMQP_URL": f"amqp://:{ENCODED}@host"},
    {"RPI_HEALTH_AMQP_URL": f"http://user:{ENCODED}@host"},
    {"RPI_HEALTH_AMQP_URL": f"user:{CANARY}@host"},
    {"RPI_HEALTH_AMQP_URL": "amqp://host", "RPI_HEALTH_AMQP_PASSWORD": CANARY},
    {"RPI_HEALTH_AMQP_URL": f"amqp://user:{CANARY}@℀.example"},
    {"RPI_HEALTH_DATABASE_URL": f"oracle://user:{ENCODED}@host/name"},
    {"RPI_HEALTH_DATABASE_URL": f"postgres://user:{CANARY}@host/name"},
    {"RPI_HEALTH_DATABASE_URL": f"postgresql://user:{CANARY}@host/name"},
    {"RPI_HEALTH_AMQP_URL_FILE": f"amqp://user:{CANARY}@host/%2F"},
    {"RPI_HEALTH_DATABASE_URL_FILE": f"postgresql://user:{ENCODED}@host/name"},
    {"RPI_HEALTH_AMQP_PASSWORD_FILE": "p%40ss"},
    {"RPI_HEALTH_AMQP_PASSWORD": CANARY, "RPI_HEALTH_AMQP_PASSWORD_FILE": "/x"},
    {"RPI_HEALTH_AMQP_PASSWORD": CANARY + "\udcff"},
    {"RPI_HEALTH_LOG_LEVEL": f"amqp://user:{CANARY}@host"},
    {"RPI_HEALTH_QUEUE": f"amqp://user:{CANARY}@{'x' * 256}"},
    {"RPI_HEALTH_CONFIG": f"amqp://user:{CANARY}@host"},
]


@pytest.mark.parametrize("environ", WRONG)
def test_error_and_its_traceback_show_no_password(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(environ=environ)
    assert_no_trace(str(caught.value))
    assert_no_trace("".join(traceback.format_exception(caught.type, caught.value, caught.tb)))


@pytest.mark.parametrize(
    "toml",
    [
        f'amqp_url = "amqp://user:{CANARY}@host"',
        f'amqp_url = ["amqp://user:{ENCODED}@host:x"]',
        f'amqp_url = ["http://user:{ENCODED}@host", 5]',
        f'amqp_url = {{a = "{CANARY}"}}',
        f'amqp_password = ["{CANARY}"]',
        f'amqp_password = "{CANARY}',
        f"amqp_password = {CANARY}",
        f'amqp_pasword = "{CANARY}"',
        f'database_url = ["postgresql://user:{CANARY}@host/name"]',
    ],
)
def test_error_about_the_config_file_shows_no_password(toml: str, tmp_path: Path) -> None:
    path = tmp_path / "some.toml"
    path.write_text(toml, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        read(config_file=path, environ={})
    assert_no_trace(str(caught.value))
    assert_no_trace("".join(traceback.format_exception(caught.type, caught.value, caught.tb)))


def test_error_of_a_config_made_by_hand_shows_no_password() -> None:
    with pytest.raises(ValidationError) as caught:
        Config(amqp_urls=(f"amqp://user:{CANARY}@host",), database_url=f"x://u:{CANARY}@h", queue="")
    assert_no_trace(str(caught.value))


@pytest.mark.usefixtures("_loggers")
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_log_lines_show_no_password(log_format: str) -> None:
    config = read({"amqp_password": CANARY}, environ={})
    stream = io.StringIO()
    logs.setup("debug", log_format, config.secrets, stream=stream)
    logger = logging.getLogger("rpi_health.somewhere")
    urls = [config.amqp_urls[0], f"amqp://athavus:{CANARY}@localhost"]
    for value in (CANARY, urls, {CANARY: ENCODED}, repr(urls), CANARY.encode(), config, ValueError(CANARY)):
        logger.warning("something about %s", value, extra={"event": "x", "value": value})
    logger.warning("with a stack", stack_info=True, extra={"value": f"tried {urls[1]!r}"})
    try:
        try:
            raise KeyError(CANARY)
        except KeyError as error:
            raise OSError(f"cannot connect to {urls[1]}") from error
    except OSError:
        logger.exception("failed")
    assert "cannot connect" in stream.getvalue()
    for trace in (CANARY, ENCODED, "ss:w", "w/rd", "rd\\u00e9", "%\\xc3\\xa9"):
        assert trace not in stream.getvalue()
