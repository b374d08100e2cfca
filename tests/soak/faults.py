"""The faults. Each is caused, lasts for a while, and is over when its function returns."""

from __future__ import annotations

import signal
from collections.abc import Callable

from tests.history_lock import history_locked
from tests.proxy import Mode
from tests.soak.stage import HEARTBEAT_S, Stage
from tools.servers import PostgreSQL

Fault = Callable[[Stage], None]


def broker_closes_connections(stage: Stage) -> None:
    stage.rabbitmq.ctl("close_all_connections", "soak")


def broker_restarted(stage: Stage) -> None:
    stage.rabbitmq.restart()


def broker_killed(stage: Stage) -> None:
    stage.rabbitmq.kill()
    stage.last(0, 2)
    stage.rabbitmq.start()


def broker_frozen(stage: Stage) -> None:
    stage.rabbitmq.freeze()
    stage.last(1, 4 * HEARTBEAT_S)
    stage.rabbitmq.thaw()


def memory_alarm(stage: Stage) -> None:
    stage.rabbitmq.ctl("set_vm_memory_high_watermark", "absolute", "1MB")
    stage.last(1, 5)
    stage.rabbitmq.ctl("set_vm_memory_high_watermark", "0.4")


def disk_alarm(stage: Stage) -> None:
    stage.rabbitmq.ctl("set_disk_free_limit", "100000GB")
    stage.last(1, 5)
    stage.rabbitmq.ctl("set_disk_free_limit", "50MB")


def dead_letter_queue_full(stage: Stage) -> None:
    queue = f"^{stage.trial.amqp.dead_letter_queue}$"
    stage.rabbitmq.ctl("set_policy", "full", queue, '{"max-length": 1}', "--apply-to", "queues")
    stage.last(1, 5)
    stage.rabbitmq.ctl("clear_policy", "full")


def network_reset(stage: Stage) -> None:
    stage.proxy().reset()


def network_stalls(stage: Stage) -> None:
    stage.misbehave(stage.proxy(), Mode.STALL, 1, 4 * HEARTBEAT_S)


def network_eats_everything(stage: Stage) -> None:
    stage.misbehave(stage.proxy(), Mode.BLACKHOLE, 1, 4 * HEARTBEAT_S)


def network_eats_what_consumers_send(stage: Stage) -> None:
    stage.misbehave(stage.proxy(), Mode.DROP_CLIENT, 1, 4 * HEARTBEAT_S)


def network_cuts_in_mid_frame(stage: Stage) -> None:
    stage.broker_proxy.cut_after(stage.dice.randint(1, 100_000))
    stage.last(1, 2)


def consumer_killed(stage: Stage) -> None:
    stage.consumers.kill()


def consumer_killed_in_its_transaction(stage: Stage) -> None:
    with history_locked(stage.trial.url):
        stage.last(0.2, 0.6)
        stage.consumers.kill()


def consumer_stopped(stage: Stage) -> None:
    consumer = stage.consumers.any()
    if consumer.events("consuming"):  # before, there is nobody yet who would take the signal
        consumer.process.send_signal(signal.SIGTERM)
        stage.consumers.replace(consumer)


def consumer_frozen(stage: Stage) -> None:
    consumer = stage.consumers.any()
    consumer.process.send_signal(signal.SIGSTOP)
    stage.last(1, 6 * HEARTBEAT_S)
    consumer.process.send_signal(signal.SIGCONT)


def consumer_crashes_at_a_failpoint(stage: Stage) -> None:
    killed = stage.consumers.kill()
    stage.consumers.replace(killed, failpoints=stage.random_failpoint(), failpoints_allowed="1")
    stage.last(1, 3)


def history_table_locked(stage: Stage) -> None:
    with history_locked(stage.trial.url):
        stage.last(0.5, 4)


def history_table_missing(stage: Stage) -> None:
    stage.execute("ALTER TABLE device_history RENAME TO elsewhere")
    stage.last(0.5, 4)
    stage.execute("ALTER TABLE elsewhere RENAME TO device_history")


def database_restarted(stage: Stage) -> None:
    stage.server.restart()


def database_killed(stage: Stage) -> None:
    stage.server.kill()
    stage.last(0, 4)
    stage.server.start()


def database_frozen(stage: Stage) -> None:
    stage.server.freeze()
    stage.last(1, 4 * HEARTBEAT_S)
    stage.server.thaw()


def database_ends_connections(stage: Stage) -> None:
    if isinstance(stage.server, PostgreSQL):
        others = "pid <> pg_backend_pid() AND backend_type = 'client backend'"
        stage.server.psql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
        return
    # Its own connection is another user's: it comes over the socket.
    stage.server.sql("KILL CONNECTION USER root@127.0.0.1")


#: For a database with a server.
_OF_A_SERVER: tuple[Fault, ...] = (database_restarted, database_killed, database_frozen, database_ends_connections)
_OF_ANY_DATABASE: tuple[Fault, ...] = (
    broker_closes_connections,
    broker_restarted,
    broker_killed,
    broker_frozen,
    memory_alarm,
    disk_alarm,
    dead_letter_queue_full,
    network_reset,
    network_stalls,
    network_eats_everything,
    network_eats_what_consumers_send,
    network_cuts_in_mid_frame,
    consumer_killed,
    consumer_killed_in_its_transaction,
    consumer_stopped,
    consumer_frozen,
    consumer_crashes_at_a_failpoint,
    history_table_locked,
    history_table_missing,
)


def faults_for(stage: Stage) -> tuple[Fault, ...]:
    """Those that can be caused here."""
    return _OF_ANY_DATABASE + (() if stage.database is None else _OF_A_SERVER)
