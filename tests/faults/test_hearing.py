"""An outage makes no device late: the fleet is judged as of the last moment when it was being heard."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.amqp import Amqp
from tests.command import Cli, Terminal
from tests.consuming import Consuming
from tests.waiting import wait_until

#: So long that the last beat before the outage finds the device online, so short that the outage is longer.
INTERVAL_S = 4


def test_broker_that_is_away_makes_no_device_offline(amqp: Amqp, sqlite_url: str, cli: Cli) -> None:
    amqp.declare()
    env = {**amqp.env, "RPI_HEALTH_DATABASE_URL": sqlite_url, "RPI_HEALTH_RECONNECT_MAX_DELAY": "1s"}
    assert cli("init-db", env=env).returncode == 0
    terminal = Terminal(cli.folder)

    def state() -> str:
        done = terminal.output_of("status", "--json", env=env)
        (device,) = json.loads(done.stdout) or [{"state": "unknown"}]
        return str(device["state"])

    def says(text: str) -> bool:
        return text in terminal.output_of("status", env=env).stdout.decode()

    consuming = Consuming(cli, env)
    consuming.wait_for("consuming")
    report: dict[str, Any] = {"id": "pi-1", "interval_s": INTERVAL_S}
    amqp.publish([report])
    reported_at = time.monotonic()
    wait_until(lambda: state() == "online", 20, "the report")
    amqp.server.kill()
    wait_until(lambda: says("No consumer is connected to the broker: states as of"), 60, "the outage to show")
    wait_until(lambda: time.monotonic() - reported_at > 5 * INTERVAL_S, 60, "the device to be missed by the clock")
    assert state() == "online"
    amqp.server.ensure_running()
    consuming.wait_for("consuming", count=2, timeout_s=60)
    wait_until(lambda: not says("states as of"), 30, "the fleet to be heard again")
    assert state() == "online"
    # Now its silence counts.
    wait_until(lambda: state() == "offline", 60, "the device to be missed")
    consuming.stop()
    assert says("No consumer is running: states as of")
