"""What the store promises, on each database."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from rpi_health.database import create_engine
from rpi_health.errors import DatabaseMisconfigured
from rpi_health.models import DeviceHistory, DeviceStatus
from rpi_health.report import Report
from rpi_health.store import Store
from tests.reports import EXAMPLE, at, count_rows, history, report, status


@pytest.fixture
def store(migrated_url: str) -> Iterator[Store]:
    engine = create_engine(migrated_url, writer=True)
    store = Store(engine)
    yield store
    store.close()
    engine.dispose()


def test_example_is_stored_with_exactly_its_values(store: Store, migrated_url: str) -> None:
    assert store.write([report(EXAMPLE, minute=1)]) == []
    row = status(migrated_url)
    assert {key: row[key] for key in EXAMPLE} == EXAMPLE
    assert (row["cpu_temp_celsius"], row["mem_used_bytes"], row["mem_percent"]) == (48.0, 512_000_000, None)
    assert (row["led_internal_status"], row["led_external_status"]) == (False, False)
    assert (row["reported_at"], row["last_update"], row["first_seen"]) == (at(1), at(60), at(60))
    assert (row["extra"], row["report_warnings"]) == (None, None)


@pytest.mark.parametrize(
    "text",
    [
        "it's",
        "''; --",
        "\\",
        "\\'",
        "\\\\'",
        'say "hi"',
        "100 %s %(x)s %%",
        "a\tb\nc\rd",
        "\\N",
        "\\x41",
        "🥧 ünï",
        "' OR 1=1 #",
    ],
)
def test_text_is_stored_as_it_was_sent(store: Store, migrated_url: str, text: str) -> None:
    """The values of a batch travel within the SQL on MySQL and MariaDB."""
    fields = {"wifi_status": text, "net_ifaces": [{"name": text}], "note": {text: text}}
    assert store.write([report(fields, minute=1)]) == []
    row = status(migrated_url)
    assert (row["wifi_status"], row["net_ifaces"], row["extra"]) == (text, [{"name": text}], {"note": {text: text}})
    assert history(migrated_url)[0]["wifi_status"] == text


@pytest.mark.parametrize("number", [0.1, -0.5, 1e-7, 5e-324, 1.7976931348623157e308, 123456789.12345679, 1e22, 3])
def test_numbers_are_stored_to_the_last_bit(store: Store, migrated_url: str, number: float) -> None:
    assert store.write([report({"cpu_percent": number, "load": [number]}, minute=1)]) == []
    row = status(migrated_url)
    assert (row["cpu_percent"], history(migrated_url)[0]["cpu_percent"]) == (number, number)
    assert row["extra"] == {"load": [pytest.approx(number, rel=1e-15)]}


def test_instants_are_stored_to_the_microsecond(store: Store, migrated_url: str) -> None:
    dice = random.Random(1)
    first, last = datetime(2020, 1, 1, tzinfo=timezone.utc), datetime(2100, 1, 1, tzinfo=timezone.utc)
    reported = sorted({first + (last - first) * dice.random() for _ in range(2_000)})
    received = [instant + timedelta(microseconds=dice.randrange(10**9)) for instant in reported]
    example = report({}, minute=1)
    batch = [example._replace(reported_at=a, received_at=b) for a, b in zip(reported, received)]
    assert store.write(batch) == []
    assert [(row["reported_at"], row["received_at"]) for row in history(migrated_url)] == list(zip(reported, received))
    store.write([example._replace(reported_at=last, heard_at=last - timedelta(microseconds=1))])
    row = status(migrated_url)
    assert (row["reported_at"], row["last_update"]) == (last, last - timedelta(microseconds=1))


def test_absent_key_keeps_the_stored_value_and_null_sets_null(store: Store, migrated_url: str) -> None:
    store.write([report({**EXAMPLE, "led_internal_status": True, "site": "roof"}, minute=1)])
    store.write([report({"cpu_percent": None, "wifi_status": "weak"}, minute=2)])
    row = status(migrated_url)
    assert (row["cpu_percent"], row["wifi_status"]) == (None, "weak")
    assert (row["mem_usage"], row["net_ifaces"], row["led_internal_status"]) == ("512 MB", EXAMPLE["net_ifaces"], True)
    assert row["extra"] == {"site": "roof"}


def test_late_report_goes_to_history_and_changes_no_state(store: Store, migrated_url: str) -> None:
    store.write([report({"cpu_percent": 50}, minute=10, received=10)])
    store.write([report({"cpu_percent": 5, "wifi_status": "old"}, minute=3, received=20)])
    row = status(migrated_url)
    assert (row["cpu_percent"], row["wifi_status"], row["reported_at"]) == (50, None, at(10))
    assert row["last_update"] == at(20)
    assert [entry["cpu_percent"] for entry in history(migrated_url)] == [5, 50]


def test_last_of_two_equally_old_reports_wins(store: Store, migrated_url: str) -> None:
    store.write([report({"cpu_percent": 1}, minute=1)])
    store.write([report({"cpu_percent": 2}, minute=1)])
    assert status(migrated_url)["cpu_percent"] == 2
    assert len(history(migrated_url)) == 2


def test_late_report_within_a_batch_lends_no_field_to_the_newer_one(store: Store, migrated_url: str) -> None:
    store.write([report({"wifi_status": "stored"}, minute=10)])
    store.write([report({"wifi_status": "late"}, minute=5), report({"cpu_percent": 1}, minute=12)])
    row = status(migrated_url)
    assert (row["wifi_status"], row["cpu_percent"], row["reported_at"]) == ("stored", 1, at(12))


def test_last_update_never_moves_backwards(store: Store, migrated_url: str) -> None:
    store.write([report({}, minute=1, received=30)])
    store.write([report({}, minute=2, received=20)])
    assert status(migrated_url)["last_update"] == at(30)


def test_draining_a_backlog_does_not_make_a_dead_device_look_alive(store: Store, migrated_url: str) -> None:
    store.write([report({}, minute=1, received=600, waiting=True)])
    assert status(migrated_url)["last_update"] == at(1)


def test_redelivered_dated_report_changes_nothing(store: Store, migrated_url: str) -> None:
    store.write([report(EXAMPLE, minute=1, received=1)])
    before = status(migrated_url), history(migrated_url)
    store.write([report(EXAMPLE, minute=1, received=50, waiting=True)])
    assert (status(migrated_url), history(migrated_url)) == before


def test_redelivered_undated_report_with_a_message_id_changes_nothing(store: Store, migrated_url: str) -> None:
    store.write([report({"cpu_percent": 1}, received=1, message_id="m1")])
    store.write([report({"cpu_percent": 2}, received=2, message_id="m2")])
    before = status(migrated_url), history(migrated_url)
    store.write([report({"cpu_percent": 1}, received=50, waiting=True, message_id="m1")])
    assert (status(migrated_url), history(migrated_url)) == before


def test_identical_undated_heartbeats_are_each_kept(store: Store, migrated_url: str) -> None:
    store.write([report(EXAMPLE, received=1), report(EXAMPLE, received=1)])
    assert len(history(migrated_url)) == 2


def test_device_ids_are_compared_byte_by_byte(store: Store, migrated_url: str) -> None:
    ids = ["PI-1", "pi-1", "pí-1", "pi-1\U0001f600", "ẞ", "ss", "[red]x", "'; DROP TABLE device_status; --"]
    store.write([report({"id": device, "cpu_percent": n}, minute=1) for n, device in enumerate(ids)])
    for number, device in enumerate(ids):
        assert status(migrated_url, device)["cpu_percent"] == number


def test_counters_are_64_bit(store: Store, migrated_url: str) -> None:
    store.write([report({"net_bytes_sent": 2**63 - 1, "net_bytes_recv": 2**40}, minute=1)])
    row = status(migrated_url)
    assert (row["net_bytes_sent"], row["net_bytes_recv"]) == (2**63 - 1, 2**40)


def test_same_device_in_one_batch_with_different_keys_keeps_all_of_them(store: Store, migrated_url: str) -> None:
    store.write([report({name: value}, minute=n) for n, (name, value) in enumerate(EXAMPLE.items())])
    row = status(migrated_url)
    assert {key: row[key] for key in EXAMPLE} == EXAMPLE
    assert len(history(migrated_url)) == len(EXAMPLE)


def _row_by_the_rule(sequence: list[Report]) -> dict[str, Any]:
    """What the contract says of a device's row, one report after the other: the oracle."""
    row: dict[str, Any] = {}
    for one in sequence:
        if "reported_at" not in row or one.reported_at >= row["reported_at"]:
            row["reported_at"] = one.reported_at
            present = (name for bit, name in enumerate(one.state._fields) if one.present >> bit & 1)
            row.update({name: getattr(one.state, name) for name in present})
        row["last_update"] = max(one.heard_at, row.get("last_update", one.heard_at))
    return row


def test_any_sequence_in_any_batches_leaves_the_row_of_the_pure_rule(store: Store, migrated_url: str) -> None:
    dice = random.Random(7)
    values = {"wifi_status": "abc", "cpu_percent": [1, 2, None], "net_ifaces": [["x"], {"a": 1}, None], "note": "xyz"}
    sequence = []
    for _ in range(300):
        keys = dice.sample(sorted(values), dice.randint(0, len(values)))
        fields = {"id": dice.choice(["a", "b", "c"]), **{key: dice.choice(values[key]) for key in keys}}
        sequence.append(report(fields, minute=dice.randint(0, 30), received=dice.randint(40, 90)))
    position = 0
    while position < len(sequence):
        size = dice.randint(1, 40)
        store.write(sequence[position : position + size])
        position += size
    for device in "abc":
        expected = _row_by_the_rule([one for one in sequence if one.raspberry_id == device])
        row = status(migrated_url, device)
        assert {key: row[key] for key in expected} == expected
    keys = {(one.raspberry_id, one.reported_at, one.digest) for one in sequence}
    assert count_rows(migrated_url, DeviceHistory) == len(keys)


def _refuse(url: str, device: str) -> None:
    """Make the database refuse one device for good, as a constraint that somebody added would."""
    engine = create_engine(url, writer=True)
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql(
                f"CREATE TRIGGER refuse BEFORE INSERT ON device_history WHEN NEW.raspberry_id = '{device}' "
                "BEGIN SELECT RAISE(ABORT, 'refused here'); END"
            )
        else:
            check = f"ALTER TABLE device_history ADD CONSTRAINT refuse CHECK (raspberry_id <> '{device}')"
            connection.exec_driver_sql(check)
    engine.dispose()


def test_one_row_that_the_database_refuses_leaves_the_others_stored(store: Store, migrated_url: str) -> None:
    _refuse(migrated_url, "pi-117")
    refused = store.write([report({"id": f"pi-{n:03d}"}, minute=1) for n in range(200)])
    assert [each.report.raspberry_id for each in refused] == ["pi-117"]
    assert count_rows(migrated_url, DeviceStatus) == count_rows(migrated_url, DeviceHistory) == 199


def test_concurrent_writers_on_the_same_devices_do_not_deadlock(store: Store, migrated_url: str) -> None:
    failures: list[BaseException] = []
    numbers = itertools.count()

    def write(seed: int) -> None:
        dice = random.Random(seed)
        engine = create_engine(migrated_url, writer=True)
        own = Store(engine)
        try:
            for _ in range(25):
                devices = dice.sample(range(60), 40)
                own.write([report({"id": f"pi-{device}"}, minute=next(numbers) / 1000) for device in devices])
        except BaseException as error:
            failures.append(error)
        finally:
            own.close()
            engine.dispose()

    writers = [threading.Thread(target=write, args=(seed,)) for seed in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert failures == []
    assert count_rows(migrated_url, DeviceHistory) == 4 * 25 * 40


def test_missing_table_is_a_matter_of_configuration_and_the_store_works_again_after(
    store: Store, migrated_url: str
) -> None:
    engine = create_engine(migrated_url, writer=True)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE device_history RENAME TO elsewhere")
    with pytest.raises(DatabaseMisconfigured):
        store.write([report({}, minute=1)])
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO device_history")
    engine.dispose()
    assert store.write([report({}, minute=1)]) == []
    assert len(history(migrated_url)) == 1


def test_notes_count_for_others_until_they_are_withdrawn_or_cleared(store: Store) -> None:
    one, two, us, them = b"1" * 16, b"2" * 16, b"us______", b"them____"
    store.note([one, two], us, at(1))
    store.note([two], us, at(2))
    store.note([two], them, at(2))
    assert store.notes_of_others([one, two], us) == {(two, them, at(2))}
    assert store.notes_of_others([one, two], b"somebody") == {(one, us, at(1)), (two, us, at(1)), (two, them, at(2))}
    store.withdraw_notes([one, two], us)
    assert store.notes_of_others([one, two], b"somebody") == {(two, them, at(2))}
    store.clear_notes([two])
    assert store.notes_of_others([one, two], b"somebody") == set()
