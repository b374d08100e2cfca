"""What kills processes is set aside; what was merely in the hands of one that stopped, waits or lives is not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from rpi_health.consumer.quarantine import MAX_NOTES
from rpi_health.models import DeviceHistory
from tests.reports import count_rows
from tests.trial import Trial
from tests.waiting import wait_until
from tools.servers import PostgreSQL

DEADLY = b"deadly"
POISONED = """
import os
from rpi_health.cli import main
from rpi_health.consumer import writer

decode_all = writer.decode_all
def decode_or_die(messages):
    if any(b"deadly" in body for body, _ in messages):
        os._exit(9)
    return decode_all(messages)
writer.decode_all = decode_or_die
main()
"""


def rename(postgresql: PostgreSQL, trial: Trial, table: str, name: str) -> None:
    postgresql.psql(f"ALTER TABLE {table} RENAME TO {name}", trial.database)


def test_message_that_kills_the_process_each_time_is_set_aside_and_the_others_flow(
    trial: Trial, tmp_path: Path
) -> None:
    program = tmp_path / "poisoned.py"
    program.write_text(POISONED)
    # Twice: what is exactly like a poisonous message is as poisonous.
    bodies = [*trial.traffic.make_reports(2), DEADLY, *trial.traffic.make_reports(2), DEADLY]
    trial.traffic.bad.add(DEADLY)
    trial.amqp.publish(bodies)
    starts, status = 0, -1
    env = {**os.environ, **trial.env, "RPI_HEALTH_DATABASE_RETRY_MAX_DELAY": "0.2s"}
    while status != 0 and starts < 8:
        starts += 1
        command = [sys.executable, program, "consume", "--until-empty"]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        status = done.returncode
        assert status in (0, 9), done.stderr
    assert MAX_NOTES < starts <= MAX_NOTES + 3
    assert "poison" in done.stderr
    assert trial.assert_nothing_lost().repeated_dead_letters == 1


def test_clean_stops_while_nothing_can_be_stored_accuse_no_message(
    postgresql: PostgreSQL, postgresql_trial: Trial
) -> None:
    rename(postgresql, postgresql_trial, "device_history", "elsewhere")
    postgresql_trial.publish(20)
    for _ in range(MAX_NOTES):
        consumer = postgresql_trial.consume()
        consumer.wait_for("database_held")
        consumer.stop()
    rename(postgresql, postgresql_trial, "elsewhere", "device_history")
    counts = postgresql_trial.finish(postgresql_trial.consume())
    assert (counts["redelivered"], counts["dead_lettered"]) == (20, 0)


def test_identical_messages_in_several_live_consumers_accuse_each_other_of_nothing(postgresql_trial: Trial) -> None:
    """Undated heartbeats of one device are alike to the byte; each consumer finds the notes of the others."""
    count, amqp = 1_500, postgresql_trial.amqp
    amqp.publish([b'{"id": "pi-1", "wifi_status": "ok"}'] * count)
    with amqp.channel() as channel:
        for _ in range(count):
            channel.basic_get(amqp.queue)
    consumers = [postgresql_trial.consume(batch_size="50") for _ in range(MAX_NOTES + 2)]
    wait_until(lambda: amqp.counts() == (0, 0), 30, "an empty queue")
    for consumer in consumers:
        consumer.wait_for("consuming")  # the others may have been faster
    counts = [consumer.stop() for consumer in consumers]
    assert sum(each["redelivered"] for each in counts) == count
    assert sum(each["dead_lettered"] for each in counts) == 0
    assert count_rows(postgresql_trial.url, DeviceHistory) == count


def test_parked_consumer_does_not_eat_the_delivery_limit_of_a_quorum_queue(
    postgresql: PostgreSQL, postgresql_trial: Trial
) -> None:
    """With history away, the status table still takes writes: only the write that failed proves that all is well."""
    trial, limit = postgresql_trial, 1
    trial.amqp.declare(arguments={"x-queue-type": "quorum", "x-delivery-limit": limit})
    consumer = trial.consume(park_after="1s", reconnect_max_delay="0.5s")
    consumer.wait_for("consuming")
    rename(postgresql, trial, "device_history", "elsewhere")
    trial.publish(50)
    consumer.wait_for("parked")
    for turn in range(1, limit + 2):
        trial.amqp.server.ctl("close_all_connections", "while parked")
        consumer.wait_for("retry", count=turn)
        wait_until(lambda: "pid" in trial.amqp.server.ctl("list_connections", "pid"), 10, "the next connection")
    rename(postgresql, trial, "elsewhere", "device_history")
    trial.assert_recovers()
    assert trial.finish(consumer)["parked"] == 1
