"""Where settings come from, which one wins, what is right, and what a wrong one is answered with."""

from __future__ import annotations

import logging
import math
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rpi_health import config as config_module
from rpi_health.config import Config, config_files, default_database_url, load, log_notices, read
from rpi_health.errors import ConfigurationError
from rpi_health.settings import CONFIG_FILE, SETTINGS, Setting

#: For each setting: its text as a flag, as a variable, and in TOML, and the values of its field that these stand for.
EXAMPLES = {
    "amqp_url": (
        ("amqp://flag", "amqp://one,amqps://two", '["amqp://file:5673/x"]'),
        (("amqp://flag",), ("amqp://one", "amqps://two"), ("amqp://file:5673/x",)),
    ),
    "amqp_username": (("flag", "variable", '"file"'), ("flag", "variable", "file")),
    "amqp_password": (("flag", "variable", '"file"'), ("flag", "variable", "file")),
    "amqp_ca_file": (("/flag", "variable", '"file"'), ("/flag", "variable", "file")),
    "amqp_cert_file": (("/flag", "variable", '"file"'), ("/flag", "variable", "file")),
    "amqp_key_file": (("/flag", "variable", '"file"'), ("/flag", "variable", "file")),
    "tls_insecure": ((True, "1", "true"), (True, True, True)),
    "queue": (("flag", "variable", '"file"'), ("flag", "variable", "file")),
    "dead_letter_queue": (("flag", "variable", '"file"'), ("flag", "variable", "file")),
    "queue_type": (("quorum", "Classic", '"quorum"'), ("quorum", "classic", "quorum")),
    "database_url": (
        ("sqlite:///flag", "postgresql+psycopg://u:p@h/d", '"mariadb://h/d"'),
        ("sqlite:///flag", "postgresql+psycopg://u:p@h/d", "mariadb://h/d"),
    ),
    "batch_size": ((1, "10000", "3"), (1, 10000, 3)),
    "prefetch": ((1, "65535", "3"), (1, 65535, 3)),
    "log_level": (("DEBUG", "Warning", '"error"'), ("debug", "warning", "error")),
    "log_format": (("json", "TEXT", '"json"'), ("json", "text", "json")),
    "received_messages": ((0, "1000000", "3"), (0, 1000000, 3)),
    "metrics_addr": (("[::1]:1", ":2", '"host:3"'), ("[::1]:1", ":2", "host:3")),
    "metrics_devices": ((10, "10000", "3"), (10, 10_000, 3)),
    "interval": ((30, "5m", "90"), (30.0, 300.0, 90.0)),
    "late_after": ((1.5, "3", "2.5"), (1.5, 3.0, 2.5)),
    "offline_after": ((10, "6", "7.5"), (10.0, 6.0, 7.5)),
    "retention": (("90d", "12h", "0"), (7776000.0, 43200.0, 0.0)),
    "startup_timeout": ((0, "2m", "3.5"), (0.0, 120.0, 3.5)),
    "park_after": ((0, "2h", '"3d"'), (0.0, 7200.0, 259200.0)),
    "drain_timeout": (("1", "250ms", "3"), (1.0, 0.25, 3.0)),
    "reconnect_max_delay": (("0.1", "7d", "3"), (0.1, 604800.0, 3.0)),
    "database_retry_max_delay": (("0.1", "7d", "3"), (0.1, 604800.0, 3.0)),
}

#: The settings whose default depends on something, and is described in words.
DESCRIBED = {"amqp_username", "amqp_password", "dead_letter_queue", "database_url", "prefetch"}
DESCRIBED |= {"amqp_ca_file", "amqp_cert_file", "amqp_key_file", "metrics_addr"}

#: What else has to be given with a setting that is of no use alone.
NEEDS = {
    "amqp_ca_file": {"RPI_HEALTH_AMQP_URL": "amqps://host"},
    "amqp_cert_file": {"RPI_HEALTH_AMQP_URL": "amqps://host"},
    "amqp_key_file": {"RPI_HEALTH_AMQP_URL": "amqps://host", "RPI_HEALTH_AMQP_CERT_FILE": "/cert.pem"},
    "tls_insecure": {"RPI_HEALTH_AMQP_URL": "amqps://host"},
}

#: For each setting: a value that it refuses.
WRONG = {
    "amqp_url": "http://host",
    "amqp_username": "",
    "amqp_password": "",
    "amqp_ca_file": "",
    "amqp_cert_file": "https://host/cert.pem",
    "amqp_key_file": "",
    "tls_insecure": "perhaps",
    "queue": "amq.queue",
    "dead_letter_queue": "x" * 256,
    "queue_type": "stream",
    "database_url": "oracle://host",
    "batch_size": "many",
    "prefetch": "0",
    "log_level": "loud",
    "log_format": "xml",
    "received_messages": "-1",
    "metrics_addr": "9108",
    "metrics_devices": "-1",
    "interval": "0",
    "late_after": "0.5",
    "offline_after": "1.5",
    "retention": "30",
    "startup_timeout": "soon",
    "park_after": "8d",
    "drain_timeout": "-1",
    "reconnect_max_delay": "0",
    "database_retry_max_delay": "0.05s",
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without any config file, so that the developer's own is not read."""
    for variable, folder in (("HOME", ""), ("XDG_CONFIG_HOME", "user"), ("XDG_DATA_HOME", "data")):
        monkeypatch.setenv(variable, str(tmp_path / folder))
    monkeypatch.setenv("XDG_CONFIG_DIRS", f"{tmp_path / 'system1'}:{tmp_path / 'system2'}")
    return tmp_path


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def error_of(**given: object) -> str:
    given.setdefault("environ", {})
    with pytest.raises(ConfigurationError) as caught:
        read(**given)  # type: ignore[arg-type]
    return str(caught.value)


def by_name(setting: Setting) -> str:
    return setting.name


# ── The catalogue ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_field_has_one_setting() -> None:
    assert sorted(setting.field for setting in SETTINGS) == sorted(Config.model_fields)


def test_examples_cover_every_setting() -> None:
    assert list(EXAMPLES) == list(WRONG) == [setting.name for setting in SETTINGS]


def test_names_derive_from_one_name() -> None:
    setting = next(setting for setting in SETTINGS if setting.name == "park_after")
    assert (setting.environment, setting.flag, setting.field) == (
        "RPI_HEALTH_PARK_AFTER",
        "--park-after",
        "park_after_s",
    )


def test_defaults_are_those_of_the_contract() -> None:
    config = read(environ={})
    assert config.amqp_urls == ("amqp://athavus:1234@localhost:5672/%2F",)
    assert (config.amqp_username, config.amqp_password) == (None, None)
    assert (config.queue, config.dead_letter_queue, config.queue_type) == ("rasp_data", "rasp_data.dead", "classic")
    assert (config.batch_size, config.prefetch) == (500, 1000)
    assert (config.log_level, config.log_format) == ("info", "text")
    assert config.received_messages_limit == 1000
    assert (config.startup_timeout_s, config.park_after_s, config.drain_timeout_s) == (5.0, 300.0, 10.0)
    assert (config.reconnect_max_delay_s, config.database_retry_max_delay_s) == (30.0, 5.0)


def test_config_without_load_has_the_same_defaults() -> None:
    assert Config() == read(environ={})


@pytest.mark.parametrize("setting", [each for each in SETTINGS if each.name not in DESCRIBED], ids=by_name)
def test_default_in_the_catalogue_reads_back_as_the_default(setting: Setting) -> None:
    assert read({setting.name: setting.default}, environ={}).model_dump() == Config().model_dump()


@pytest.mark.parametrize("setting", [*SETTINGS, CONFIG_FILE], ids=by_name)
def test_every_setting_is_described(setting: Setting) -> None:
    assert setting.help
    assert setting.help.endswith(".")
    assert setting.right
    assert setting.default


def test_database_lies_in_the_users_data_folder(home: Path) -> None:
    assert read(environ={}).database_url == f"sqlite:///{home}/data/rpi-health/rpi-health.sqlite3"
    assert default_database_url().startswith("sqlite:////")


def test_loading_writes_nothing(home: Path) -> None:
    load(environ={})
    assert list(home.iterdir()) == []


# ── Precedence and origin ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("setting", SETTINGS, ids=by_name)
def test_flag_over_environment_over_file_over_default(setting: Setting, home: Path) -> None:
    (flag, variable, toml), expected = EXAMPLES[setting.name]
    path = written(home / "some.toml", f"{setting.name} = {toml}\n")
    flags = {setting.name: flag}
    needed = NEEDS.get(setting.name, {})
    environ = {setting.environment: str(variable), **needed}
    configs = [
        read(flags, config_file=path, environ=environ),
        read({setting.name: None}, config_file=path, environ=environ),
        read(config_file=path, environ={setting.environment: "", **needed}),
        read(environ={}),
    ]
    assert tuple(getattr(config, setting.field) for config in configs[:3]) == expected
    assert [config.origin(setting.name) for config in configs] == [
        setting.flag,
        f"environment variable {setting.environment}",
        f"{setting.name} in {path}, line 1",
        "default",
    ]


def test_origin_of_an_unknown_setting_is_an_error() -> None:
    with pytest.raises(KeyError):
        read(environ={}).origin("batchsize")


def test_the_process_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RPI_HEALTH_QUEUE", "from_environment")
    assert load().queue == "from_environment"


def test_wrong_value_that_is_overridden_does_no_harm() -> None:
    assert read({"batch_size": 7}, environ={"RPI_HEALTH_BATCH_SIZE": "many"}).batch_size == 7


def test_config_is_frozen() -> None:
    with pytest.raises(ValidationError):
        Config().queue = "other"  # type: ignore[misc]


# ── Files that hold a secret ──────────────────────────────────────────────────────────────────────────────────────────

FROM_FILE = [setting for setting in SETTINGS if setting.from_file]


def test_secrets_may_come_from_files() -> None:
    names = [setting.name for setting in FROM_FILE]
    assert names == ["amqp_url", "amqp_username", "amqp_password", "database_url"]


@pytest.mark.parametrize("setting", FROM_FILE, ids=by_name)
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_secret_file_is_read_without_its_line_end(setting: Setting, end: str, home: Path) -> None:
    (flag, _, _), (expected, _, _) = EXAMPLES[setting.name]
    path = written(home / "secret", f"{flag}{end}")
    config = read(environ={setting.file_environment: str(path)})
    assert getattr(config, setting.field) == expected
    assert config.origin(setting.name) == f"file {path} ({setting.file_environment})"


def test_blanks_of_a_password_file_belong_to_the_password(home: Path) -> None:
    path = written(home / "secret", " pass word \n")
    assert read(environ={"RPI_HEALTH_AMQP_PASSWORD_FILE": str(path)}).amqp_password == " pass word "


@pytest.mark.parametrize("setting", FROM_FILE, ids=by_name)
def test_variable_and_file_variable_together_are_an_error(setting: Setting, home: Path) -> None:
    path = written(home / "secret", "x")
    environ = {setting.environment: "x", setting.file_environment: str(path)}
    message = f"{setting.environment} and {setting.file_environment} are both set: unset one of them"
    assert error_of(environ=environ) == message


def test_empty_variable_beside_a_file_variable_counts_as_not_set(home: Path) -> None:
    path = written(home / "secret", "from_file")
    environ = {"RPI_HEALTH_AMQP_PASSWORD": "", "RPI_HEALTH_AMQP_PASSWORD_FILE": str(path)}
    assert read(environ=environ).amqp_password == "from_file"


def test_unusable_secret_file_is_named_with_its_variable(home: Path) -> None:
    written(home / "empty", "\n")
    (home / "latin").write_bytes(b"p\xe9")
    for name, why in (
        ("missing", "No such file or directory"),
        ("", "Is a directory"),
        ("empty", "the file is empty"),
        ("latin", "it is not UTF-8 text"),
    ):
        path = home / name
        expected = f"amqp_password cannot be read from file {path} (RPI_HEALTH_AMQP_PASSWORD_FILE): {why}"
        assert error_of(environ={"RPI_HEALTH_AMQP_PASSWORD_FILE": str(path)}) == expected


def test_unreadable_secret_file_does_not_stop_a_flag() -> None:
    environ = {"RPI_HEALTH_AMQP_PASSWORD_FILE": "/does/not/exist"}
    assert read({"amqp_password": "flag"}, environ=environ).amqp_password == "flag"


# ── The config file ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_config_files_are_the_users_then_the_systems(home: Path) -> None:
    folders = [home / "user", home / "system1", home / "system2"]
    assert config_files() == [folder / "rpi-health" / "config.toml" for folder in folders]


def test_first_config_file_that_exists_counts(home: Path) -> None:
    system = written(home / "system2/rpi-health/config.toml", 'queue = "system"')
    assert (read(environ={}).queue, read(environ={}).config_file) == ("system", system)
    user = written(home / "user/rpi-health/config.toml", 'queue = "user"')
    assert (read(environ={}).queue, read(environ={}).config_file) == ("user", user)


def test_named_config_file_comes_before_the_users(home: Path) -> None:
    written(home / "user/rpi-health/config.toml", 'queue = "user"')
    variable = written(home / "variable.toml", 'queue = "variable"')
    argument = written(home / "argument.toml", 'queue = "argument"')
    environ = {"RPI_HEALTH_CONFIG": str(variable)}
    assert read(environ=environ).queue == "variable"
    assert read(config_file=argument, environ=environ).queue == "argument"


def test_home_is_expanded_in_a_config_file_name(home: Path) -> None:
    written(home / "mine.toml", 'queue = "mine"')
    assert read(config_file="~/mine.toml", environ={}).queue == "mine"


def test_home_of_an_unknown_user_is_an_error_like_any_other() -> None:
    assert "cannot be read: No such file" in error_of(config_file="~nobody-of-this-name/x.toml")
    environ = {"RPI_HEALTH_AMQP_PASSWORD_FILE": "~nobody-of-this-name/x"}
    assert "cannot be read from file ~nobody-of-this-name/x" in error_of(environ=environ)


def test_named_config_file_must_exist(home: Path) -> None:
    path = home / "missing.toml"
    why = "cannot be read: No such file or directory"
    assert error_of(config_file=path) == f"config file {path} (--config) {why}"
    assert error_of(environ={"RPI_HEALTH_CONFIG": str(path)}) == f"config file {path} (RPI_HEALTH_CONFIG) {why}"


def test_config_file_with_a_byte_order_mark_is_read(home: Path) -> None:
    path = written(home / "bom.toml", '\ufeffqueue = "q"')
    assert read(config_file=path, environ={}).queue == "q"


def test_config_file_that_is_not_utf8_is_named(home: Path) -> None:
    path = home / "latin.toml"
    path.write_bytes(b'queue = "\xe9"')
    assert error_of(config_file=path) == f"config file {path} (--config) cannot be read: it is not UTF-8 text"


@pytest.mark.parametrize("text", ["queue = rasp", "a = 1\na = 2", "a = " + "[" * 5000, "a = " + "9" * 5000])
def test_broken_toml_is_named(text: str, home: Path) -> None:
    path = written(home / "broken.toml", text)
    assert error_of(config_file=path).startswith(f"config file {path} (--config) is not valid TOML: ")


def test_broken_toml_is_named_with_its_line(home: Path) -> None:
    path = written(home / "broken.toml", "batch_size = 1\nqueue = rasp")
    assert "at line 2" in error_of(config_file=path)


def test_unknown_key_is_named_with_its_line_and_the_likely_one(home: Path) -> None:
    path = written(home / "some.toml", '# mine\n"bach_size" = 5\n[amqp-url]\nx = 1\n')
    assert error_of(config_file=path).splitlines() == [
        f"config file {path} (--config) has an unknown key 'bach_size', line 2: did you mean batch_size?",
        f"config file {path} (--config) has an unknown key 'amqp-url', line 3: did you mean amqp_url?",
    ]


def test_unknown_key_like_none_lists_the_known_ones(home: Path) -> None:
    path = written(home / "some.toml", "xyz = 5")
    assert error_of(config_file=path).endswith(", ".join(EXAMPLES))


def test_config_is_no_key_of_the_config_file(home: Path) -> None:
    path = written(home / "some.toml", 'config = "x"')
    assert "unknown key 'config'" in error_of(config_file=path)


def test_unknown_flag_is_an_error() -> None:
    assert error_of(flags={"queu": "x"}) == "there is no setting 'queu': did you mean queue?"


# ── Notices ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_unknown_variable_is_told_once_and_ignored(caplog: pytest.LogCaptureFixture) -> None:
    load(environ={"RPI_HEALTH_QUEU": "x", "RPI_HEALTH_QUEUE_FILE": "x", "RPI_OTHER": "x"})
    fields = [(record.variable, record.did_you_mean) for record in caplog.records]  # type: ignore[attr-defined]
    assert fields == [("RPI_HEALTH_QUEU", "RPI_HEALTH_QUEUE"), ("RPI_HEALTH_QUEUE_FILE", "RPI_HEALTH_QUEUE")]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_known_variables_are_not_told(caplog: pytest.LogCaptureFixture, home: Path) -> None:
    path = written(home / "x", "amqp://localhost")
    load(
        environ={
            "RPI_HEALTH_CONFIG": str(written(home / "some.toml", "")),
            "RPI_HEALTH_AMQP_URL_FILE": str(path),
            "RPI_HEALTH_QUEUE": "q",
            "RPI_HEALTH_FAILPOINTS": "after_commit=crash",
            "RPI_HEALTH_FAILPOINTS_ALLOWED": "1",
        }
    )
    assert caplog.records == []


@pytest.mark.parametrize("allowed", [{}, {"RPI_HEALTH_FAILPOINTS_ALLOWED": "yes"}], ids=["not allowed", "not by 1"])
def test_failpoints_are_refused_unless_allowed(allowed: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="unset it, or set RPI_HEALTH_FAILPOINTS_ALLOWED=1"):
        load(environ={"RPI_HEALTH_FAILPOINTS": "after_commit=crash", **allowed})


def test_failpoints_are_off_by_default_and_on_where_allowed() -> None:
    allowed = {"RPI_HEALTH_FAILPOINTS_ALLOWED": "1"}
    assert load(environ=allowed).failpoints is None
    assert load(environ={"RPI_HEALTH_FAILPOINTS": "after_commit=crash", **allowed}).failpoints == "after_commit=crash"


def test_read_logs_nothing_but_keeps_its_notices(caplog: pytest.LogCaptureFixture) -> None:
    config = read(environ={"RPI_HEALTH_QUEU": "x"})
    assert caplog.records == []
    assert [notice.event.name for notice in config.notices] == ["unknown_variable"]
    log_notices(config)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("host", ["broker.example", "10.0.0.1", "[2001:db8::1]", "localhost.example"])
def test_default_credentials_on_a_remote_broker_are_told(host: str) -> None:
    config = read(environ={"RPI_HEALTH_AMQP_URL": f"amqp://localhost,amqp://athavus:1234@{host}:5672"})
    assert [(notice.event.name, notice.fields) for notice in config.notices] == [
        ("default_credentials", {"host": host.strip("[]")})
    ]


@pytest.mark.parametrize(
    "url",
    [
        "amqp://athavus:1234@localhost",
        "amqp://athavus:1234@127.8.9.1",
        "amqp://athavus:1234@[::1]",
        "amqp://athavus:12345@broker.example",
        "amqp://other:1234@broker.example",
    ],
)
def test_local_broker_or_other_credentials_are_not_told(url: str) -> None:
    assert read(environ={"RPI_HEALTH_AMQP_URL": url}).notices == ()


def test_default_credentials_given_as_overrides_are_told() -> None:
    environ = {"RPI_HEALTH_AMQP_URL": "amqp://broker.example", "RPI_HEALTH_AMQP_USERNAME": "athavus"}
    assert read(environ={**environ, "RPI_HEALTH_AMQP_PASSWORD": "1234"}).notices[0].event.name == "default_credentials"


# ── Errors ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("setting", SETTINGS, ids=by_name)
def test_wrong_value_is_named_with_its_origin_and_a_cure(setting: Setting) -> None:
    message = error_of(flags={setting.name: WRONG[setting.name]})
    assert re.fullmatch(rf"{setting.name} is \S+ \({setting.flag}\): .{{10,}}", message)


def test_error_reads_as_a_sentence() -> None:
    expected = "batch_size is 'many' (environment variable RPI_HEALTH_BATCH_SIZE): give a whole number from 1 to 10000"
    assert error_of(environ={"RPI_HEALTH_BATCH_SIZE": "many"}) == expected


def test_all_errors_are_told_at_once(home: Path) -> None:
    path = written(home / "some.toml", "batch_size = true\nlog_level = 5\nwhat = 1")
    lines = error_of(flags={"queue_type": "stream"}, config_file=path, environ={"RPI_HEALTH_PREFETCH": "0"})
    assert [line.split(" is ")[0] for line in lines.splitlines()[1:]] == [
        "queue_type",
        "batch_size",
        "prefetch",
        "log_level",
    ]


NOT_WHOLE: list[object] = [True, 5.0, "5e2", 0, "", [], 10**400]
NOT_A_DURATION: list[object] = [True, "", "5 weeks", -1, "1h30m", float("nan"), float("inf"), 10**400]
WRONG_VALUES: list[tuple[str, object]] = [
    *[("batch_size", value) for value in NOT_WHOLE],
    *[("prefetch", value) for value in NOT_WHOLE],
    *[("park_after", value) for value in NOT_A_DURATION],
    ("queue", ""),
    ("queue", 5),
    ("queue", "a\x1b"),
    ("queue", "é" * 128),
    ("amqp_url", ""),
    ("amqp_url", " , "),
    ("amqp_url", []),
    ("amqp_url", ["amqp://h", 5]),
    ("amqp_url", {"a": 1}),
    ("amqp_password", 1234),
    ("database_url", 5),
]


@pytest.mark.parametrize(("name", "value"), WRONG_VALUES)
def test_value_that_is_not_right_is_refused(name: str, value: object) -> None:
    setting = next(setting for setting in SETTINGS if setting.name == name)
    message = error_of(flags={name: value})
    assert message.startswith(f"{name} is ")
    assert message.endswith(f": give {setting.right}") or "give a duration such as" in message


def test_bounds_in_the_text_are_the_bounds() -> None:
    numbers = [setting for setting in SETTINGS if setting.right.startswith("a whole number")]
    assert len(numbers) == 4
    for setting in numbers:
        low, high = map(int, re.findall(r"\d+", setting.right))
        for right in (low, high):
            assert getattr(read({setting.name: right}, environ={}), setting.field) == right
        for wrong in (low - 1, high + 1):
            assert setting.right in error_of(flags={setting.name: wrong})


def test_integer_too_long_to_print_is_an_error_like_any_other(home: Path) -> None:
    path = written(home / "some.toml", "batch_size = 0x" + "f" * 5000)
    assert "batch_size is " in error_of(config_file=path)
    assert "give a whole number" in error_of(config_file=path)


def test_long_value_is_cut_in_the_error() -> None:
    assert len(error_of(flags={"queue": "x" * 100_000})) < 400


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("h", "a broker's URL begins with amqp:// or amqps://"),
        ("http://h", "a broker's URL begins with amqp:// or amqps://"),
        ("amqp:/h", "a broker's URL begins with amqp:// or amqps://"),
        ("amqp://", "it names no host"),
        ("amqp://u:p@", "it names no host"),
        ("amqp://:5672/", "it names no host"),
        ("amqp://h:0", "its port is 0"),
        ("amqp://h:65536", "its host or port cannot be read: special characters"),
        ("amqp://[::1", "its host or port cannot be read: special characters"),
        ("amqp://u:p@ss:w/rd@h", "its host or port cannot be read: special characters"),
        ("amqp://u:12/34@h", "it holds an unescaped special character: special characters"),
        ("amqp://u:12#34@h", "it holds an unescaped special character: special characters"),
        ("amqp://u:12?34@h", "it holds an unescaped special character: special characters"),
        ("amqp://u:a b@h", "it holds an unescaped special character: special characters"),
        ("amqp://h/a/b", "a / in the virtual host is written %2F"),
        ("amqp://h1,h2", "after each comma comes a whole URL, from amqp:// on"),
        ("amqps://h?ssl_options=None", "in place of ssl_options, set amqp_ca_file, amqp_cert_file and amqp_key_file"),
        ("amqps://h?a=b&ssl%5Foptions=", "in place of ssl_options, set amqp_ca_file"),
        ("amqp://u@h", "there is a user name but no password: set amqp_password"),
        ("amqp://:p@h", "there is a password but no user name: set amqp_username"),
    ],
)
def test_wrong_broker_url_is_told_why(url: str, why: str) -> None:
    for flag in (url, f"amqp://good,{url}" if "://" in url else url):
        assert why in error_of(flags={"amqp_url": flag})


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("postgres://u:p@h/d", "write postgresql:// in place of postgres://"),
        ("sqlite://file.sqlite3", "three slashes and a path"),
        ("sqlite:file", "give sqlite:////PATH"),
        ("/var/lib/x.sqlite3", "give sqlite:////PATH"),
        ("mssql://h/d", "give sqlite:////PATH"),
        ("postgresql://u:p@ss@h/d", "its host or port cannot be read: special characters"),
        ("postgresql://u:p@ss/rd@h/d", "its host or port cannot be read: special characters"),
        ("postgresql://u:p@ss:w@h/d", "its host or port cannot be read: special characters"),
        ("mysql://h:port/d", "its host or port cannot be read: special characters"),
    ],
)
def test_wrong_database_url_is_told_why(url: str, why: str) -> None:
    assert why in error_of(flags={"database_url": url})


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///x.sqlite3",
        "sqlite:////x",
        "sqlite:///:memory:",
        "postgresql:///d?host=/run/postgresql",
        "sqlite:////srv/a@b/x:y.sqlite3",
        "mysql+pymysql://u:p%40@h:3306/d",
        "mysql://u:p:/q@h",
        "postgresql://h/d?application_name=a@b",
        "postgresql+psycopg://u:p@[::1]:5432/d?sslmode=verify-full",
    ],
)
def test_right_database_url_is_taken_as_it_is(url: str) -> None:
    assert read({"database_url": url}, environ={}).database_url == url


# ── Values that depend on others ──────────────────────────────────────────────────────────────────────────────────────


def test_dead_letter_queue_follows_the_queue() -> None:
    assert read({"queue": "fleet"}, environ={}).dead_letter_queue == "fleet.dead"


def test_dead_letter_queue_must_be_another_queue() -> None:
    message = error_of(flags={"queue": "q", "dead_letter_queue": "q"})
    assert message == "dead_letter_queue is 'q' (--dead-letter-queue): give another name than the queue's"


def test_name_too_long_for_its_dead_letter_queue_asks_for_one() -> None:
    message = error_of(flags={"queue": "q" * 253})
    assert message.startswith("dead_letter_queue (default): give a name of 1 to 255 bytes")
    assert read({"queue": "q" * 253, "dead_letter_queue": "d"}, environ={}).dead_letter_queue == "d"


@pytest.mark.parametrize(("batch_size", "prefetch"), [(1, 2), (500, 1000), (1000, 2000), (10_000, 2000)])
def test_prefetch_follows_the_batch(batch_size: int, prefetch: int) -> None:
    assert read({"batch_size": batch_size}, environ={}).prefetch == prefetch


def test_given_prefetch_may_exceed_what_the_batch_suggests() -> None:
    assert read({"batch_size": 1, "prefetch": 5000}, environ={}).prefetch == 5000


def test_credentials_override_those_of_every_url() -> None:
    urls = "amqp://a:b@one:5673/%2F?heartbeat=5, amqps://two/vhost,amqp://c:d@[::1]:5672/"
    config = read({"amqp_url": urls, "amqp_username": "us:er", "amqp_password": "p@ss:w/rd%é"}, environ={})
    userinfo = "us%3Aer:p%40ss%3Aw%2Frd%25%C3%A9"
    assert config.amqp_urls == (
        f"amqp://{userinfo}@one:5673/%2F?heartbeat=5",
        f"amqps://{userinfo}@two/vhost",
        f"amqp://{userinfo}@[::1]:5672/",
    )


def test_password_alone_keeps_the_urls_user_and_the_other_way_round() -> None:
    url = "amqp://a%2F:b%2F@h"
    assert read({"amqp_url": url, "amqp_password": "x"}, environ={}).amqp_urls == ("amqp://a%2F:x@h",)
    assert read({"amqp_url": url, "amqp_username": "x"}, environ={}).amqp_urls == ("amqp://x:b%2F@h",)


def test_credentials_without_their_other_half_are_refused() -> None:
    assert "no password: set amqp_password" in error_of(flags={"amqp_url": "amqp://h", "amqp_username": "u"})
    assert "no user name: set amqp_username" in error_of(flags={"amqp_url": "amqp://h", "amqp_password": "p"})


def test_url_without_credentials_gets_none() -> None:
    assert read({"amqp_url": "amqp://h"}, environ={}).amqp_urls == ("amqp://h",)


@given(username=st.text(min_size=1), password=st.text(min_size=1))
def test_any_credentials_survive_the_url(username: str, password: str) -> None:
    config = Config(amqp_username=username, amqp_password=password, amqp_urls=("amqps://u:p@[::1]:5671/%2F",))
    parts = urlsplit(config.amqp_urls[0])
    assert (unquote(parts.username or ""), unquote(parts.password or "")) == (username, password)
    assert (parts.hostname, parts.port, parts.path) == ("::1", 5671, "/%2F")


def test_blanks_and_stray_commas_between_urls_are_ignored() -> None:
    urls = " amqp://one ,\n amqp://two,, AMQPS://three , "
    assert read({"amqp_url": urls}, environ={}).amqp_urls == ("amqp://one", "amqp://two", "AMQPS://three")


def test_module_reads_nothing_when_imported() -> None:
    assert not any(isinstance(value, Config) for value in vars(config_module).values())


@pytest.mark.parametrize(
    ("microseconds", "seconds"),
    [("3000000", 3.0), ("0", 0.0), ("-1", None), ("1e6", None), ("", None), ("9" * 5000, math.inf)],
    ids=lambda value: str(value)[:10],
)
def test_patience_of_a_service_manager_may_be_anything(microseconds: str, seconds: float | None) -> None:
    assert read(environ={"WATCHDOG_USEC": microseconds}).watchdog_s == seconds
