"""No password reaches any output, whatever the command, the log level and the trouble: all that comes out is searched.

One password is everywhere that a user may have put it, and where it works it is the real one. It has an unmistakable
beginning and end, so that a piece of it is found as well as the whole, in any spelling that keeps letters.
"""

from __future__ import annotations

import base64
import html
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, quote_plus

import pytest

from rpi_health import migrations
from tests.amqp import Amqp
from tests.command import Cli
from tests.conftest import fresh_name
from tests.reports import EXAMPLE
from tools.servers import MariaDB, PostgreSQL, RabbitMQ
from tools.servers.process import free_ports

PASSWORD = "S3cr€t/@:%& Kan4ri'\""
ENCODED = quote(PASSWORD, safe="")
LOWER = "".join(char if ord(char) > 127 or char.isalnum() else f"%{ord(char):02x}" for char in PASSWORD).replace(
    "€", "%e2%82%ac"
)
OWNER, OTHER = "canary_owner", "canary_other"  # whose password it is, and who has another one

#: Why some tests are expected to fail, until the database module gives PyMySQL the password as bytes.
#: Instead of an exit status: any but that of a defect.
ANY = -1

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")


# ── The search ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _base64_traces(text: str) -> set[str]:
    """What the base64 of anything that holds this text holds: there are three, by where the text begins."""
    raw = text.encode()
    return {base64.b64encode(b"xx"[:shift] + raw + b"xx")[4:-8].decode() for shift in range(3)}


#: Percent-encoding, escapes and quoting leave these as they are.
TRACES = {"S3cr", "Kan4ri", *_base64_traces(PASSWORD), PASSWORD.encode().hex()}


def leaks(output: str) -> list[str]:
    """The lines of an output that hold the password or a piece of it, also in small letters, as hosts are shown."""
    traces = {trace.lower() for trace in TRACES}
    found = [line for line in output.splitlines() if any(trace in line.lower() for trace in traces)]
    whole = output.replace("\n", "").lower()
    return found or [trace for trace in traces if trace in whole]


def _basic(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "spelling",
    {
        "plain": PASSWORD,
        "percent-encoded": ENCODED,
        "percent-encoded in lower case": LOWER,
        "slashes kept": quote(PASSWORD),
        "plus for a blank": quote_plus(PASSWORD),
        "repr": repr(PASSWORD),
        "repr of bytes": repr(PASSWORD.encode()),
        "ASCII": ascii(PASSWORD),
        "JSON": json.dumps(PASSWORD),
        "JSON in UTF-8": json.dumps(PASSWORD, ensure_ascii=False),
        "JSON of JSON": json.dumps(json.dumps(PASSWORD)),
        "HTML": html.escape(PASSWORD),
        "base64": _basic(PASSWORD),
        "base64 of a login by AMQP": _basic(f"\0{OWNER}\0{PASSWORD}"),
        "base64 of a login by HTTP": _basic(f"{OWNER}:{PASSWORD}"),
        "hexadecimal": PASSWORD.encode().hex(),
        "beginning": PASSWORD[:6],
        "end": PASSWORD[6:],
        "small letters": PASSWORD.lower(),
        "wrapped": f"{PASSWORD[:3]}\n{PASSWORD[3:]}",
    }.items(),
    ids=lambda spelling: spelling[0],
)
def test_search_finds_a_planted_password(spelling: tuple[str, str]) -> None:
    assert leaks("a line\nanother\n") == []
    assert leaks(f"a line\nconnecting with {spelling[1]} to host\nanother\n")


# ── Runs ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Run(NamedTuple):
    """A run of the command line, and the exit status that shows that it met the trouble that it was to meet."""

    status: int
    args: tuple[str, ...]
    env: Mapping[str, str] = {}


#: The command line again and again in one process: each start of the interpreter would cost half a second.
DRIVER = """
import json, os, sys
from rpi_health.cli import main

for number, (args, env) in enumerate(json.load(sys.stdin)):
    for name in [name for name in os.environ if name.startswith("RPI_HEALTH_")]:
        del os.environ[name]
    os.environ.update(env)
    print(f"run {number}", file=sys.stderr, flush=True)
    try:
        main(args, prog_name="rpi-health")
    except SystemExit as exited:
        print(f"run {number} ended with {exited.code}", flush=True)
"""


#: What Python has for finding mistakes, which makes it say more. It also makes it slow.
DEVELOPING = ("-X", "dev", "-X", "faulthandler")


def python(
    folder: Path,
    code: str,
    *,
    stdin: str = "",
    env: Mapping[str, str] | None = None,
    options: tuple[str, ...] = DEVELOPING,
) -> tuple[str, str]:
    """Run a program in a process of its own.

    Returns what it wrote to standard output and error. It must end with exit status 0.
    """
    done = subprocess.run(
        [sys.executable, *options, "-c", code],
        input=stdin,
        env=Cli(folder)._env({"PYTHONUTF8": "1", **(env or {})}),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert leaks(done.stdout + done.stderr) == []
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def expected(run: Run) -> tuple[int, ...]:
    return (0, 3, 4, 5) if run.status == ANY else (run.status,)


def assert_quiet(folder: Path, runs: Iterable[Run]) -> str:
    """Do all these runs: each must end as expected, and none say the password. Returns what they wrote."""
    runs = list(runs)
    stdin = json.dumps([(run.args, run.env) for run in runs])
    out, err = python(folder, DRIVER, stdin=stdin, options=("-W", "default"))
    ended = [int(line.rpartition(" ")[2]) for line in out.splitlines() if line.startswith("run ")]
    wrong = [(run, status) for run, status in zip(runs, ended) if status not in expected(run)]
    assert wrong == [], err
    assert len(ended) == len(runs)
    return out + err


def logging_as(level: str, log_format: str) -> tuple[str, ...]:
    return ("--log-level", level, "--log-format", log_format)


PUBLISH = ("publish-test",)
#: The one message that is published before makes it end at once.
CONSUME = ("consume", "--max-messages", "1")


class Place(NamedTuple):
    """Where a setting is given: as arguments, in the environment, or both."""

    args: tuple[str, ...] = ()
    env: Mapping[str, str] = {}


def places(setting: str, value: str, folder: Path) -> dict[str, Place]:
    """Everywhere that this setting may be given."""
    secret, config = folder / f"{fresh_name(setting)}.secret", folder / f"{fresh_name(setting)}.toml"
    secret.write_text(value, encoding="utf-8")
    config.write_text(f"{setting} = {json.dumps(value, ensure_ascii=False)}\n", encoding="utf-8")
    variable = f"RPI_HEALTH_{setting.upper()}"
    return {
        "flag": Place((f"--{setting.replace('_', '-')}", value)),
        "variable": Place(env={variable: value}),
        "file": Place(env={f"{variable}_FILE": str(secret)}),
        "config file": Place(("--config", str(config))),
        "config file by a variable": Place(env={"RPI_HEALTH_CONFIG": str(config)}),
    }


def in_each_log(status: int, place: Place, env: Mapping[str, str], *commands: tuple[str, ...]) -> Iterator[Run]:
    """The commands, one after the other, in each level and format of the log."""
    for level in LEVELS:
        for log_format in FORMATS:
            for command in commands:
                options = ("--log-level", level, "--log-format", log_format)
                yield Run(status, (*command, *place.args, *options), {**env, **place.env})


def debugging(status: int, place: Place, env: Mapping[str, str], *commands: tuple[str, ...]) -> Iterator[Run]:
    """The commands, one after the other, in the log that says most."""
    for command in commands:
        yield Run(status, (*command, *place.args, "--log-level", "debug"), {**env, **place.env})


# ── Servers that know the password ────────────────────────────────────────────────────────────────────────────────────


def _erlang(text: str) -> str:
    return f"<<{','.join(map(str, text.encode()))}>>"


@pytest.fixture(scope="module")
def amqp_users(rabbitmq: RabbitMQ) -> Iterator[Amqp]:
    """A queue, and two users who may use it, one of them with the password."""
    rabbitmq.ensure_running()
    users = "rabbit_auth_backend_internal"
    for user, password in ((OWNER, PASSWORD), (OTHER, "another one")):
        name, every = _erlang(user), _erlang(".*")
        rabbitmq.ctl(
            "eval",
            f"ok = {users}:add_user({name}, {_erlang(password)}, {name}), "
            f"ok = {users}:set_permissions({name}, <<47>>, {every}, {every}, {every}, {name}).",
        )
    amqp = Amqp(rabbitmq, fresh_name("test"))
    amqp.declare()
    yield amqp
    amqp.delete()
    rabbitmq.ctl(
        "eval", "".join(f"ok = {users}:delete_user({_erlang(each)}, <<>>), " for each in (OWNER, OTHER)) + "ok."
    )


@pytest.fixture(scope="module")
def postgresql_owner(postgresql: PostgreSQL) -> Iterator[str]:
    """The address of a database, and two roles who have to give their password, whose owner has the password."""
    postgresql.ensure_running()
    rules = postgresql.folder / "data" / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"host all {OWNER},{OTHER} 127.0.0.1/32 scram-sha-256\n{before}")
    quoted = PASSWORD.replace("'", "''")
    name = fresh_name("canary")
    postgresql.psql(f"CREATE ROLE {OWNER} LOGIN PASSWORD '{quoted}'; CREATE ROLE {OTHER} LOGIN PASSWORD 'another one'")
    postgresql.create_database(name)
    postgresql.psql(f'ALTER DATABASE "{name}" OWNER TO {OWNER}; SELECT pg_reload_conf()')
    yield f"127.0.0.1:{postgresql.port}/{name}"
    postgresql.drop_database(name)
    rules.write_text(before)
    postgresql.psql(f"DROP ROLE {OWNER}; DROP ROLE {OTHER}; SELECT pg_reload_conf()")


@pytest.fixture(scope="module")
def mariadb_owner(mariadb: MariaDB) -> Iterator[str]:
    """The address of a database, and two users, one of whom has the password."""
    mariadb.ensure_running()
    name = fresh_name("canary")
    mariadb.create_database(name)
    for user, password in ((OWNER, PASSWORD.replace("'", "''")), (OTHER, "another one")):
        mariadb.sql(
            f"CREATE USER {user}@'127.0.0.1' IDENTIFIED BY '{password}'; GRANT ALL ON {name}.* TO {user}@'127.0.0.1'"
        )
    yield f"127.0.0.1:{mariadb.port}/{name}"
    mariadb.sql(f"DROP USER {OWNER}@'127.0.0.1', {OTHER}@'127.0.0.1'; DROP DATABASE {name}")


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with its tables, which has no password."""
    url = f"sqlite:///{tmp_path_factory.mktemp('sqlite') / 'fleet.db'}"
    migrations.upgrade(url)
    return url


@pytest.fixture(scope="module")
def closed_port() -> int:
    return free_ports(1)[0]


# ── The broker ────────────────────────────────────────────────────────────────────────────────────────────────────────

#: A URL that leads to each kind of trouble, and the exit status that says so.
BROKERS = {
    "works": (0, "amqp://{owner}@127.0.0.1:{port}/%2F"),
    "wrong password": (4, "amqp://{other}@127.0.0.1:{port}/%2F"),
    "closed port": (4, "amqp://{owner}@127.0.0.1:{closed}/%2F"),
    "unknown host": (4, "amqp://{owner}@broker.invalid/%2F"),
    "unreachable host": (4, "amqp://{owner}@[100::1]:5672/%2F?socket_timeout=0.05"),
    "unknown vhost": (4, "amqp://{owner}@127.0.0.1:{port}/nowhere"),
    "TLS to a plain port": (4, "amqps://{owner}@127.0.0.1:{port}/%2F"),
    "unknown option": (3, "amqp://{owner}@127.0.0.1:{port}/%2F?password={password}"),
    "option given twice": (3, "amqp://{owner}@127.0.0.1:{port}/%2F?heartbeat=1&heartbeat={password}"),
    "option with settings of its own": (3, "amqps://{owner}@127.0.0.1:{port}/%2F?ssl_options={password}"),
    "bad option": (3, "amqp://{owner}@127.0.0.1:{port}/%2F?tcp_options={password}"),
}


@pytest.mark.parametrize("situation", BROKERS)
def test_password_of_the_broker_is_never_said(
    amqp_users: Amqp, sqlite: str, closed_port: int, tmp_path: Path, situation: str
) -> None:
    status, template = BROKERS[situation]
    owner, other = f"{OWNER}:{ENCODED}", f"{OTHER}:{LOWER}"
    port = amqp_users.server.port
    url = template.format(owner=owner, other=other, port=port, closed=closed_port, password=ENCODED)
    without = url.replace(f":{ENCODED}@", "@").replace(f":{LOWER}@", "@")
    env = {"RPI_HEALTH_DATABASE_URL": sqlite, "RPI_HEALTH_QUEUE": amqp_users.queue, "RPI_HEALTH_STARTUP_TIMEOUT": "0s"}
    given = places("amqp_url", url, tmp_path)
    given["second of a cluster"] = Place(("--amqp-url", f"amqp://{OTHER}:{LOWER}@127.0.0.1:{closed_port},{url}"))
    for name, place in places("amqp_password", PASSWORD, tmp_path).items():
        if name != "flag":  # there is none for a password
            given[f"password in a {name}"] = Place(place.args, {"RPI_HEALTH_AMQP_URL": without, **place.env})
    commands = (PUBLISH, CONSUME) if status == 0 else (CONSUME,)
    runs = list(in_each_log(status, given["flag"], env, *commands))
    runs += debugging(status, given["flag"], env, PUBLISH, *([CONSUME] if status == 0 else []))
    for place in given.values():
        runs += debugging(status, place, env, *commands)
    said = assert_quiet(tmp_path, runs)
    assert ("Consuming." in said) is (status == 0)
    assert ("\nError: " in said) is (status != 0)


# ── The databases ─────────────────────────────────────────────────────────────────────────────────────────────────────

DATABASES = {
    "works": (0, "{scheme}://{owner}@{address}"),
    "password as an option": (0, "{scheme}://{address}?user=canary_owner&password={password}"),
    "wrong password": (5, "{scheme}://{other}@{address}"),
    "wrong password as an option": (5, "{scheme}://{address}?user=canary_other&password={password}"),
    "closed port": (5, "{scheme}://{owner}@127.0.0.1:{closed}/canary"),
    "unknown host": (5, "{scheme}://{owner}@database.invalid/canary"),
    "unreachable host": (5, "{scheme}://{owner}@[100::1]/canary?connect_timeout=2"),
    "unknown database": (5, "{scheme}://{owner}@{server}/canary_nowhere"),
    "unknown option": (5, "{scheme}://{owner}@{address}?secret_option={password}"),
}


def database_runs(status: int, url: str, env: Mapping[str, str], folder: Path) -> Iterator[Run]:
    given = places("database_url", url, folder)
    yield from debugging(status, given["flag"], env, ("init-db",))
    if "connect_timeout" in url:
        return  # each would wait for that long
    yield from debugging(status, given["flag"], env, ("init-db", "--check"), ("status", "--json"))
    commands = (PUBLISH, CONSUME) if status == 0 else (CONSUME,)
    yield from in_each_log(status, given["flag"], env, *commands)
    for place in given.values():
        yield from debugging(status, place, env, ("status",))


@pytest.mark.parametrize("situation", DATABASES)
@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_password_of_the_database_is_never_said(
    request: pytest.FixtureRequest, amqp_users: Amqp, closed_port: int, tmp_path: Path, scheme: str, situation: str
) -> None:
    status, template = DATABASES[situation]
    address = request.getfixturevalue("postgresql_owner" if scheme == "postgresql" else "mariadb_owner")
    url = template.format(
        scheme=scheme,
        owner=f"{OWNER}:{ENCODED}",
        other=f"{OTHER}:{LOWER}",
        password=ENCODED,
        address=address,
        server=address.partition("/")[0],
        closed=closed_port,
    )
    env = {**amqp_users.env, "RPI_HEALTH_STARTUP_TIMEOUT": "0s"}
    said = assert_quiet(tmp_path, database_runs(status, url, env, tmp_path))
    assert ("\nError: " in said) is (status != 0)


# ── What is written wrong ─────────────────────────────────────────────────────────────────────────────────────────────

#: A password that falls to pieces: each is a piece of a URL, and must not be shown as one.
PIECES = (
    *("S3cr@Kan4ri", "S3cr/Kan4ri", "S3cr?Kan4ri", "S3cr#Kan4ri", "S3cr[Kan4ri", "S3cr]Kan4ri", "S3cr%Kan4ri/x"),
    *("S3cr@x/Kan4ri", "S3cr@x?Kan4ri", "S3cr@x:1/Kan4ri", "S3cr@x#Kan4ri", "S3cr:Kan4ri/@x", "S3cr Kan4ri"),
    *("S3cr@Kan4ri/x", "S3cr@Kan4ri?x", "S3cr@Kan4ri:1?x=1", "S3cr?@Kan4ri", "S3cr/@Kan4ri?", "S3cr@Kan4ri#x"),
    PASSWORD,
)
#: What else is wrong with a URL. None of them may be taken for right.
BROKEN = (
    "{scheme}://user:{password}@host:port/x",
    "{scheme}://user:{password}@[::1/x",
    "{scheme}://user:{password}@::1]/x",
    "no{scheme}://user:{password}@host/x",
    "{scheme}:/user:{password}@host/x",
    "{scheme}//user:{password}@host/x",
    "user:{password}@host/x",
    "{scheme}://user:{password}",
)
AMQP_ONLY = (
    "amqp://user:{password}@host:99999999/x",
    "amqp://user:{password}@",
    "amqp://:{password}@host",
    "amqp://user:{password}@host, broker2",
    "amqp://user:{password}@a/b/c",
)


def wrong_urls(scheme: str) -> Iterator[str]:
    for template in (*BROKEN, *(AMQP_ONLY if scheme == "amqp" else ())):
        for password in (ENCODED, PASSWORD):
            yield template.format(scheme=scheme, password=password)


def maybe_wrong_urls(scheme: str) -> Iterator[str]:
    for password in PIECES:
        yield f"{scheme}://user:{password}@127.0.0.1:1"
        yield f"  {scheme}://user:{password}@127.0.0.1:1/x  "


@pytest.mark.parametrize("scheme", ["amqp", "postgresql", "mysql"])
def test_url_that_is_written_wrong_is_not_quoted(sqlite: str, tmp_path: Path, scheme: str) -> None:
    setting = "amqp_url" if scheme == "amqp" else "database_url"
    env = {"RPI_HEALTH_DATABASE_URL": sqlite} if scheme == "amqp" else {}
    runs: list[Run] = []
    for url in wrong_urls(scheme):
        for place in places(setting, url, tmp_path).values():
            runs += debugging(3, place, env, ("status",))
    said = assert_quiet(tmp_path, runs)
    assert said.count(f"Error: {setting} is ") == len(runs)


@pytest.mark.parametrize("scheme", ["amqp", "postgresql", "mysql"])
def test_piece_of_a_password_is_not_taken_for_a_host(sqlite: str, tmp_path: Path, scheme: str) -> None:
    setting = "amqp_url" if scheme == "amqp" else "database_url"
    env = {"RPI_HEALTH_STARTUP_TIMEOUT": "0s", **({"RPI_HEALTH_DATABASE_URL": sqlite} if scheme == "amqp" else {})}
    runs: list[Run] = []
    for url in maybe_wrong_urls(scheme):
        # Some can be read as they were meant, and nobody answers there.
        runs += debugging(ANY, places(setting, url, tmp_path)["variable"], env, CONSUME)
    assert_quiet(tmp_path, runs)


URL = f"amqp://user:{ENCODED}@host:5672/%2F?password={ENCODED}"
RAW_URL = f"amqp://user:{PASSWORD}@host:5672/%2F?password={PASSWORD}"
OPTION_URL = f"postgresql://host/d?password={PASSWORD}"


@pytest.mark.parametrize("url", [URL, RAW_URL, OPTION_URL], ids=["encoded", "not encoded", "as an option"])
def test_url_in_the_wrong_place_is_not_quoted(sqlite: str, tmp_path: Path, url: str) -> None:
    given = [
        (2, (url,)),
        (2, ("status", url)),
        (2, ("status", f"--amqp={url}")),
        (2, ("status", f"--amqp-password={PASSWORD}")),
        (2, ("status", f"-p{PASSWORD}")),
        (2, ("publish-test", "--count", url)),
        (2, ("publish-test", "--rate", url)),
        (2, ("publish-test", "--file", url)),
        (2, ("publish-test", "--set", f"{url}")),
        (3, ("status", "--config", url)),
        (3, ("status", "--log-level", url)),
        (3, ("status", "--log-format", url)),
        (3, ("status", "--queue-type", url)),
        (3, ("status", "--queue", f"amq.{url}")),
    ]
    variables = [f"RPI_HEALTH_{name}" for name in ("BATCH_SIZE", "PREFETCH", "PARK_AFTER", "CONFIG", "AMQP_URL_FILE")]
    runs = [Run(status, args, {"RPI_HEALTH_DATABASE_URL": sqlite}) for status, args in given]
    runs += [Run(3, ("status",), {"RPI_HEALTH_DATABASE_URL": sqlite, name: url}) for name in variables]
    said = assert_quiet(tmp_path, runs)
    assert said.count("Error: ") == len(runs)


QUEUES = [
    pytest.param(f"amqp://user:{ENCODED}@host", id="encoded"),
    pytest.param("amqp://user:S3cr/Kan4ri@host", id="with a slash"),
    pytest.param(f"amqp://user:{PASSWORD}@host", id="not encoded"),
]


@pytest.mark.parametrize("queue", QUEUES)
def test_url_for_a_queue_is_not_logged(amqp_users: Amqp, sqlite: str, tmp_path: Path, queue: str) -> None:
    env = {**amqp_users.env, "RPI_HEALTH_DATABASE_URL": sqlite}
    try:
        assert_quiet(tmp_path, in_each_log(ANY, Place(("--queue", queue)), env, PUBLISH, CONSUME))
    finally:
        with amqp_users.channel() as channel:
            channel.queue_delete(queue)


@pytest.mark.parametrize("password", [PASSWORD, "S3cr/Kan4ri=="], ids=["any", "base64"])
def test_password_in_place_of_its_file_is_not_quoted(sqlite: str, tmp_path: Path, password: str) -> None:
    variables = ("RPI_HEALTH_AMQP_PASSWORD_FILE", "RPI_HEALTH_AMQP_URL_FILE", "RPI_HEALTH_DATABASE_URL_FILE")
    assert_quiet(tmp_path, [Run(3, ("status",), {name: password}) for name in variables])


@pytest.mark.parametrize("line", ['"{}" = 1', '["{}"]'], ids=["key", "table"])
def test_url_in_place_of_a_key_is_not_quoted(sqlite: str, tmp_path: Path, line: str) -> None:
    (tmp_path / "own.toml").write_text(line.format(URL), encoding="utf-8")
    assert_quiet(tmp_path, [Run(3, ("status", "--config", "own.toml"), {"RPI_HEALTH_DATABASE_URL": sqlite})])


BROKEN_TOML = (
    'amqp_password = "{password}x',
    "amqp_password = {password}",
    'amqp_password = ["{password}"]',
    'amqp_password = {{x = "{password}"}}',
    'amqp_url = ["amqp://user:{password}@host", 5]',
    'amqp_pasword = "{password}"',
    '[amqp_password]\nvalue = "{password}"',
    'amqp_password = "{password}"\namqp_password = "{password}"',
    'database_url = "postgresql://user:{password}@host/x',
    "\x00{password}",
)


def test_broken_config_file_is_not_quoted(sqlite: str, tmp_path: Path) -> None:
    runs = []
    for number, text in enumerate(BROKEN_TOML):
        for kind, password in (("raw", PASSWORD), ("escaped", PASSWORD.replace('"', r"\"")), ("encoded", ENCODED)):
            path = tmp_path / f"{number}-{kind}.toml"
            path.write_text(text.format(password=password), encoding="utf-8")
            runs.append(Run(3, ("status", "--config", str(path)), {"RPI_HEALTH_DATABASE_URL": sqlite}))
    assert_quiet(tmp_path, runs)


# ── What nobody expected ──────────────────────────────────────────────────────────────────────────────────────────────


def everywhere(sqlite: str) -> dict[str, str]:
    """The password in all variables that may hold it at once."""
    return {
        "RPI_HEALTH_AMQP_URL": f"amqp://{OWNER}:{ENCODED}@127.0.0.1:1,amqps://{OTHER}:{LOWER}@127.0.0.1:1",
        "RPI_HEALTH_AMQP_PASSWORD": PASSWORD,
        "RPI_HEALTH_DATABASE_URL": sqlite,
    }


def test_help_and_version_show_no_value(sqlite: str, tmp_path: Path) -> None:
    commands = ((), ("init-db",), ("consume",), ("publish-test",), ("status",))
    runs = [Run(0, (*command, "--help"), everywhere(sqlite)) for command in commands]
    said = assert_quiet(tmp_path, [*runs, Run(0, ("--version",), everywhere(sqlite))])
    assert said.count("Usage: ") == len(runs)


#: Modules of these names are found before the real ones, and fail as any library may: with what they were given.
FAILING = """
import os

raise RuntimeError(f"cannot use {os.environ['RPI_HEALTH_AMQP_URL']!r}%s")
"""


@pytest.mark.parametrize(
    ("module", "quoted"),
    [("platformdirs", ""), ("pika", " with {os.environ['RPI_HEALTH_AMQP_PASSWORD']!r}")],
    ids=["before the settings are known", "after"],
)
def test_traceback_shows_no_password(sqlite: str, tmp_path: Path, module: str, quoted: str) -> None:
    (tmp_path / f"{module}.py").write_text(FAILING % quoted)
    done = Cli(tmp_path)("publish-test", env={**everywhere(sqlite), "PYTHONPATH": str(tmp_path), "PYTHONUTF8": "1"})
    assert done.returncode == 1
    assert "RuntimeError: cannot use 'amqp://canary_owner:***@" in done.stderr
    assert leaks(done.stdout + done.stderr) == []


REPRESENTATIONS = """
import logging, pprint, traceback
from rich.pretty import pretty_repr
from rpi_health import app, config, database, embed
from rpi_health.settings import SETTINGS

logging.basicConfig(level=logging.DEBUG)
settings = config.load()
print(repr(settings), str(settings), f"{settings}", pprint.pformat(settings), pretty_repr(settings))
print({each.name: settings.redacted(each.name) for each in SETTINGS}, settings.notices, settings.config_file)
print([settings.origin(each.name) for each in SETTINGS])
consumer = app.make_consumer(settings)
engine = database.create_engine(settings.database_url)
print(consumer, vars(consumer), engine, repr(engine.url), engine.pool.status())
print(database.parse_url(settings.database_url))
try:
    settings.database_url = "x"
except Exception:
    traceback.print_exc()
for url in (settings.amqp_urls[0] + ":x", settings.database_url + ":x/y@z"):
    try:
        config.read({"amqp_url": url, "database_url": url})
    except Exception:
        traceback.print_exc()
"""


def test_representation_of_the_settings_shows_no_password(postgresql_owner: str, tmp_path: Path) -> None:
    env = {**everywhere(""), "RPI_HEALTH_DATABASE_URL": f"postgresql://{OWNER}:{ENCODED}@{postgresql_owner}"}
    out, _ = python(tmp_path, REPRESENTATIONS, env=env)
    assert out.count("***") > 10


# ── Inside another program ────────────────────────────────────────────────────────────────────────────────────────────

#: It logs all that there is, as a program does whose logging knows nothing of passwords.
EMBEDDING = """
import faulthandler, logging, sys, threading, time, traceback

logging.basicConfig(level=logging.DEBUG, format="%(name)s %(levelname)s %(message)s %(event)s", stream=sys.stdout)
seen = set()

class Note(logging.Handler):
    def emit(self, record):
        seen.add(getattr(record, "event", None))

for handler in logging.getLogger().handlers:
    handler.addFilter(lambda record: setattr(record, "event", getattr(record, "event", "")) or True)
logging.getLogger().addHandler(Note())
for name in ("pika", "sqlalchemy", "sqlalchemy.engine", "sqlalchemy.pool", "psycopg", "psycopg.pool", "pymysql"):
    logging.getLogger(name).setLevel(logging.DEBUG)

import sqlalchemy as sa
from rpi_health import migrations, shared, start_consumer_thread
from rpi_health.config import load
from rpi_health.database import SessionLocal

wanted = sys.stdin.readline().strip()
if wanted == "stopped":
    migrations.upgrade(load().database_url)
try:
    handle = start_consumer_thread()
    print(handle, vars(handle), SessionLocal)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and wanted not in seen and handle.is_alive() and not shared.received_messages:
        time.sleep(0.02)
    faulthandler.dump_traceback(all_threads=True)
    if wanted == "stopped":
        with SessionLocal() as session:
            print(session.execute(sa.text("SELECT raspberry_id FROM device_status")).all())
    assert handle.stop()
    if handle.error is not None:
        traceback.print_exception(handle.error)
except Exception:
    traceback.print_exc()
print("seen", sorted(map(str, seen)))
"""


def embed(folder: Path, wanted: str, env: Mapping[str, str]) -> None:
    out, _ = python(folder, EMBEDDING, stdin=wanted, env={"RPI_HEALTH_RECONNECT_MAX_DELAY": "0.1s", **env})
    assert f"'{wanted}'" in out.splitlines()[-1], out


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_program_that_logs_everything_logs_no_password(
    request: pytest.FixtureRequest, amqp_users: Amqp, tmp_path: Path, scheme: str
) -> None:
    address = request.getfixturevalue("postgresql_owner" if scheme == "postgresql" else "mariadb_owner")
    amqp_users.publish([{"id": "pi", **EXAMPLE}, b"not json"])
    env = {
        "RPI_HEALTH_AMQP_URL": f"amqp://{OWNER}:{ENCODED}@127.0.0.1:{amqp_users.server.port}/%2F",
        "RPI_HEALTH_QUEUE": amqp_users.queue,
        "RPI_HEALTH_DATABASE_URL": f"{scheme}://{OWNER}:{ENCODED}@{address}",
    }
    embed(tmp_path, "stopped", env)


@pytest.mark.parametrize("situation", ["wrong password", "closed port", "TLS to a plain port"])
def test_program_that_meets_a_broker_in_trouble_logs_no_password(
    amqp_users: Amqp, sqlite: str, closed_port: int, tmp_path: Path, situation: str
) -> None:
    _, template = BROKERS[situation]
    owner, other, port = f"{OWNER}:{ENCODED}", f"{OTHER}:{ENCODED}", amqp_users.server.port
    url = template.format(owner=owner, other=other, port=port, closed=closed_port)
    embed(tmp_path, "retry", {"RPI_HEALTH_AMQP_URL": url, "RPI_HEALTH_DATABASE_URL": sqlite})


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_program_that_meets_a_database_in_trouble_logs_no_password(
    request: pytest.FixtureRequest, amqp_users: Amqp, tmp_path: Path, scheme: str
) -> None:
    address = request.getfixturevalue("postgresql_owner" if scheme == "postgresql" else "mariadb_owner")
    url = f"{scheme}://{OTHER}:{ENCODED}@{address}"
    embed(tmp_path, "retry", {**amqp_users.env, "RPI_HEALTH_DATABASE_URL": url})


def test_program_with_a_broken_option_of_the_broker_logs_no_password(sqlite: str, tmp_path: Path) -> None:
    url = f"amqps://host?tcp_options={quote(repr({'password': PASSWORD}))[:-3]}"
    env = {"RPI_HEALTH_AMQP_URL": url, "RPI_HEALTH_DATABASE_URL": sqlite}
    _, err = python(tmp_path, EMBEDDING, stdin="consumer_failed", env=env)
    assert "ConfigurationError: RPI_HEALTH_AMQP_URL cannot be used" in err
