"""The consumer inside Flask and FastAPI: the applications of `examples/` under the servers that a page names."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa

from rpi_health import migrations
from rpi_health.database import create_engine
from rpi_health.models import DeviceStatus
from tests.amqp import Amqp
from tests.pages import ROOT, blocks_of, table
from tests.traffic import Traffic
from tests.web import EXAMPLES, Web

PAGE = ROOT / "docs" / "embedding.md"
WAYS = table(PAGE, "Ways to start it")
IN_GOOD_ORDER = "stops in good order"
FLASK = "gunicorn 'flask_app:create_app()'"
FASTAPI = "uvicorn fastapi_app:app"
PLAIN, PRELOADED = "gunicorn --workers 2 'flask_app:create_app()'", "gunicorn --workers 2 --config gunicorn_preload.py"
RELOADERS = [command for command, _, _ in WAYS if "--reload" in command or command.endswith("--debug")]

each_prefork = pytest.mark.parametrize("command", [PLAIN, PRELOADED], ids=["plain", "preloaded"])


FLASK_COMMAND = """
import threading
from flask.cli import cli

cli.main(["--app", "flask_app", "{}"], standalone_mode=False)
assert not [thread for thread in threading.enumerate() if thread.name.startswith("rpi-health")]
"""

SEVERAL_STARTS = """
import asyncio, signal, threading, time
import fastapi_app, flask_app
from rpi_health import rabbit_consumer, start_consumer_thread

def consumers():
    return [thread for thread in threading.enumerate() if thread.name == "rpi-health-consumer"]

def handlers():
    return {number: signal.getsignal(number) for number in signal.valid_signals()}

def off_the_main_thread(work):
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread

for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1):
    signal.signal(number, lambda *_: None)
before = handlers()

async def start_with_fastapi():
    async with fastapi_app.lifespan(fastapi_app.app):
        assert fastapi_app.app.state.consumer is handle

handle = flask_app.create_app().extensions["consumer"]
assert flask_app.create_app().extensions["consumer"] is handle
starts = [off_the_main_thread(start_consumer_thread) for _ in range(10)]
for start in starts:
    start.join()
assert len(consumers()) == 1
assert handlers() == before
asyncio.run(start_with_fastapi())
assert not handle.is_alive() and not consumers()

off_the_main_thread(rabbit_consumer)
while not consumers():
    time.sleep(0.01)
assert handlers() == before
"""


@pytest.fixture(params=[FLASK, FASTAPI], ids=["flask", "fastapi"])
def command(request: pytest.FixtureRequest) -> str:
    """A server with one process and each of the applications."""
    return str(request.param)


@pytest.fixture
def traffic() -> Traffic:
    return Traffic()


@pytest.fixture
def web(amqp: Amqp, sqlite_url: str, tmp_path: Path) -> Iterator[Web]:
    migrations.upgrade(sqlite_url)
    amqp.declare()
    application = Web(tmp_path / "web", amqp, sqlite_url)
    yield application
    application.close()


def send(web: Web, amqp: Amqp, traffic: Traffic, count: int) -> None:
    """Have so many more reports stored and acknowledged."""
    amqp.publish(traffic.make_reports(count))
    web.wait(lambda: amqp.counts() == (0, 0), "all reports to be taken")
    assert web.stored() == len(traffic.reports)


@pytest.mark.parametrize(("command", "consumers", "end"), WAYS, ids=[command for command, _, _ in WAYS])
def test_each_process_that_serves_has_one_consumer_and_no_other_has(
    web: Web, amqp: Amqp, traffic: Traffic, command: str, consumers: str, end: str
) -> None:
    web.serve(command, int(consumers))
    web.wait(web.is_healthy, "health")
    web.wait(lambda: len(web.seen()) == int(consumers), "all consumers to be seen")
    assert web.seen() <= (web.workers() or {web.server.pid})
    send(web, amqp, traffic, 20)
    assert len(web.get("/devices").json) == 20
    assert web.stop() == 0 or not command.startswith("gunicorn")
    assert amqp.counts() == (0, 0)
    assert (web.seen() == set()) == (end == IN_GOOD_ORDER), web.written


def test_messages_are_served_as_they_came_even_those_that_are_no_strict_json(
    web: Web, amqp: Amqp, command: str
) -> None:
    web.serve(command, 1)
    strange = b'{"id": "pi-2", "cpu_percent": NaN, "far": 1e999, "half": "\\ud800", "long": %s}' % (b"9" * 5000)
    amqp.publish([{"id": "pi-1", "cpu_temp": "48°C"}, strange])
    web.wait(lambda: web.stored() == 2, "both to be stored")
    plain, served = web.get("/messages").json
    assert plain == {"id": "pi-1", "cpu_temp": "48°C"}
    assert (served["cpu_percent"], served["far"], served["half"]) == (None, None, "\ud800")


def test_devices_are_served_even_one_that_was_never_heard(web: Web, amqp: Amqp, sqlite_url: str, command: str) -> None:
    with create_engine(sqlite_url, writer=True).begin() as connection:  # as a database may have it that was adopted
        connection.execute(sa.insert(DeviceStatus).values(raspberry_id="pi-0", cpu_temp="48°C"))
    web.serve(command, 1)
    amqp.publish([{"id": "pi-1", "timestamp": "2026-01-31T09:00:12Z"}])
    web.wait(lambda: web.stored() == 1, "the report to be stored")
    never, heard = web.get("/devices").json
    assert never == {"id": "pi-0", "last_update": None, "cpu_temp": "48°C"}
    at = datetime.fromisoformat(heard["last_update"].replace("Z", "+00:00"))
    assert datetime.now(timezone.utc) - at < timedelta(minutes=5)


def test_crash_of_the_consumer_is_seen_in_health_and_the_application_goes_on(
    web: Web, amqp: Amqp, traffic: Traffic, command: str
) -> None:
    crash = {"RPI_HEALTH_FAILPOINTS": "after_commit=raise", "RPI_HEALTH_FAILPOINTS_ALLOWED": "1"}
    web.serve(command, 1, crash)
    web.wait(web.is_healthy, "health")
    amqp.publish(traffic.make_reports(1))
    web.wait(
        lambda: web.get("/health") == (503, {"reasons": ["The consumer has ended: after_commit"]}),
        "the crash to be seen",
    )
    assert len(web.get("/devices").json) == 1
    web.stop()


@pytest.mark.parametrize("options", ["", " --debug"], ids=["plain", "debug"])
def test_ctrl_c_stops_the_server_of_flask_in_good_order(web: Web, options: str) -> None:
    web.serve(f"flask --app flask_app run{options}", 1)
    web.wait(web.seen, "the consumer to be seen")
    os.killpg(web.server.pid, signal.SIGINT)  # as a terminal does: to all of its processes
    web.server.wait(30)
    web.wait(lambda: web.seen() == set(), "the consumer to take its leave")


@each_prefork
def test_workers_that_are_told_to_end_while_they_store_lose_nothing(
    web: Web, amqp: Amqp, traffic: Traffic, command: str
) -> None:
    amqp.publish(traffic.make_reports(20_000))
    web.serve(command, 2, {"RPI_HEALTH_BATCH_SIZE": "5"})
    web.wait(lambda: web.stored() > 100, "the workers to be in the middle of it")
    assert web.stop() == 0
    ready, unacked = amqp.counts()
    assert 0 < ready == len(traffic.reports) - web.stored(), "it was all over before the end, or something is lost"
    assert (unacked, web.seen()) == (0, set())


@each_prefork
def test_sighup_replaces_the_workers_and_their_consumers(web: Web, amqp: Amqp, traffic: Traffic, command: str) -> None:
    web.serve(command, 2)
    send(web, amqp, traffic, 20)
    before = web.workers()
    web.signal(signal.SIGHUP)
    web.wait(lambda: not before & web.workers() and web.seen() == web.workers(), "new consumers, and no old ones")
    web.wait(lambda: web.consumers() == 2, "two consumers")
    send(web, amqp, traffic, 20)
    assert web.stop() == 0


@each_prefork
def test_worker_that_was_killed_is_replaced_with_its_consumer(
    web: Web, amqp: Amqp, traffic: Traffic, command: str
) -> None:
    web.serve(command, 2)
    web.wait(lambda: web.seen() == web.workers(), "both consumers to be seen")
    victim, other = web.workers()
    os.kill(victim, signal.SIGKILL)
    web.wait(lambda: len(web.workers() - {victim}) == 2 and web.workers() <= web.seen(), "a new consumer")
    assert other in web.workers()
    web.wait(lambda: web.consumers() == 2, "two consumers")
    send(web, amqp, traffic, 20)
    assert web.stop() == 0


@pytest.mark.parametrize("command", RELOADERS)
def test_reloader_replaces_the_consumer_and_never_runs_two(
    web: Web, amqp: Amqp, traffic: Traffic, command: str
) -> None:
    web.serve(command, 1)
    web.wait(web.seen, "the consumer to be seen")
    before, counted = web.seen(), set()

    def is_replaced() -> bool:
        counted.add(web.consumers())
        return len(web.seen()) == 1 and web.seen() != before and web.consumers() == 1

    web.edit("fastapi_app.py" if "fastapi" in command else "flask_app.py")
    web.wait(is_replaced, "another process to consume")
    assert counted <= {0, 1}
    send(web, amqp, traffic, 20)
    web.stop()


def test_application_loaded_before_the_fork_without_the_config_says_that_it_does_not_consume(web: Web) -> None:
    web.serve("gunicorn --preload 'flask_app:create_app()'", 1)
    assert web.get("/health") == (503, {"reasons": ["The consumer does not run in this process."]})
    assert web.stop() == 0


@pytest.mark.parametrize("way", ["shell", "routes"])
def test_flask_commands_that_do_not_serve_start_no_consumer(web: Web, way: str) -> None:
    web.run(FLASK_COMMAND.format(way))


def test_applications_in_one_process_share_one_consumer_which_takes_no_signals(web: Web) -> None:
    web.run(SEVERAL_STARTS)


def test_page_shows_all_examples() -> None:
    shown = {block.text for block in blocks_of(PAGE) if block.language == "python"}
    assert {path.read_text() for path in EXAMPLES.glob("*.py")} <= shown
