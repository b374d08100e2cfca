"""What `init-db` promises, on each database: the tables of the models, once, however often and wherever it runs."""

from __future__ import annotations

import stat
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory

from rpi_health import errors, migrations, schema
from rpi_health.database import create_engine
from rpi_health.models import DeviceHistory, DeviceStatus, MessageReceipt, PoisonNote
from tests.schema import assert_models_equal_tables, connected, cut_off_at, run, scalars, tables

ROOT = Path(__file__).resolve().parents[2]
TABLES = {
    *("device_status", "device_history", "message_receipts", "poison_notes"),
    *("device_history_hourly", "consumer_status", "consumer_hearing", "consumer_upkeep"),
}
NOON = datetime(2025, 7, 1, 12, 0, 0, 123456, tzinfo=timezone.utc)


def add_rows(url: str) -> None:
    with connected(url) as connection:
        for device in ("PI-1", "pi-1"):
            connection.execute(sa.insert(DeviceStatus).values(raspberry_id=device, last_update=NOON, extra={"a": [1]}))
            report = {"reported_at": NOON, "received_at": NOON, "digest": b"0123456789abcde\0"}
            connection.execute(sa.insert(DeviceHistory).values(raspberry_id=device, **report))
        receipt = {"raspberry_id": "pi-1", "digest": bytes(16), "received_at": NOON}
        connection.execute(sa.insert(MessageReceipt).values(**receipt))
        note = {"digest": bytes(16), "owner": bytes(8), "noted_at": NOON}
        connection.execute(sa.insert(PoisonNote).values(**note))


def test_models_equal_migrations(migrated_url: str) -> None:
    assert_models_equal_tables(migrated_url)


def test_migrations_are_numbered_and_the_last_one_is_that_of_this_version() -> None:
    scripts = ScriptDirectory(str(ROOT / "alembic")).walk_revisions()
    revisions = [script.revision for script in scripts]
    assert revisions == sorted(revisions, reverse=True)
    assert revisions[0] == schema.REVISION


def test_device_ids_are_compared_byte_by_byte(migrated_url: str) -> None:
    add_rows(migrated_url)
    for table in ("device_status", "device_history"):
        assert scalars(migrated_url, f"SELECT raspberry_id FROM {table} WHERE raspberry_id = 'PI-1'") == ["PI-1"]
        # Also in order: by the bytes, not by the language.
        assert scalars(migrated_url, f"SELECT raspberry_id FROM {table} ORDER BY raspberry_id") == ["PI-1", "pi-1"]
    with pytest.raises(sa.exc.IntegrityError):
        add_rows(migrated_url)


def test_instants_and_digests_come_back_as_they_were(migrated_url: str) -> None:
    add_rows(migrated_url)
    with connected(migrated_url) as connection:
        kept = sa.select(DeviceHistory.reported_at, DeviceHistory.received_at, DeviceHistory.digest)
        assert connection.execute(kept.limit(1)).one() == (NOON, NOON, b"0123456789abcde\0")


def test_postgresql_has_64_bit_ids_native_json_and_instants(postgresql_url: str) -> None:
    migrations.upgrade(postgresql_url)
    types = "SELECT data_type FROM information_schema.columns WHERE table_name = 'device_status' AND column_name = "
    assert scalars(postgresql_url, types + "'id'") == ["bigint"]
    assert scalars(postgresql_url, types + "'net_ifaces'") == ["jsonb"]
    assert scalars(postgresql_url, types + "'last_update'") == ["timestamp with time zone"]
    assert scalars(postgresql_url, "SELECT data_type::text FROM pg_sequences") == ["bigint"]
    collations = "SELECT DISTINCT collation_name FROM information_schema.columns WHERE column_name = 'raspberry_id'"
    assert scalars(postgresql_url, collations) == ["C"]


def test_mariadb_has_64_bit_ids_microseconds_and_binary_keys(mariadb_url: str) -> None:
    migrations.upgrade(mariadb_url)
    types = "SELECT DISTINCT column_type FROM information_schema.columns WHERE table_schema = DATABASE() AND "
    assert scalars(mariadb_url, types + "table_name = 'device_status' AND column_name = 'id'") == ["bigint(20)"]
    assert scalars(mariadb_url, types + "column_name IN ('last_update', 'received_at')") == ["datetime(6)"]
    assert scalars(mariadb_url, types + "column_name = 'digest'") == ["binary(16)"]
    collations = (
        "SELECT DISTINCT collation_name FROM information_schema.columns WHERE column_name = 'raspberry_id' AND "
    )
    assert scalars(mariadb_url, collations + "table_schema = DATABASE()") == ["utf8mb4_bin"]
    formats = "SELECT DISTINCT engine FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name IN "
    assert scalars(mariadb_url, f"{formats} {tuple(TABLES)}") == ["InnoDB"]


def test_sqlite_clusters_by_the_key(sqlite_url: str) -> None:
    migrations.upgrade(sqlite_url)
    clustered = "SELECT name FROM sqlite_master WHERE sql LIKE '%WITHOUT ROWID%' ORDER BY name"
    assert scalars(sqlite_url, clustered) == [
        *("consumer_hearing", "consumer_status", "consumer_upkeep"),
        *("device_history", "device_history_hourly", "message_receipts", "poison_notes"),
    ]


def test_goes_up_down_and_up_with_rows(migrated_url: str) -> None:
    add_rows(migrated_url)
    migrations.downgrade(migrated_url, "base")
    assert tables(migrated_url) == set()
    assert migrations.upgrade(migrated_url) == migrations.Result(None, "0004")
    add_rows(migrated_url)


def test_second_run_changes_nothing(migrated_url: str) -> None:
    add_rows(migrated_url)
    result = migrations.upgrade(migrated_url)
    assert (result.before, str(result)) == (result.after, "The tables are up to date (revision 0004).")
    assert len(scalars(migrated_url, "SELECT id FROM device_status")) == 2


def test_five_at_once_all_succeed_and_one_does_it(database_url: str, tmp_path: Path) -> None:
    program = "import sys; from rpi_health import migrations; print(migrations.upgrade(sys.argv[1]))"
    command = [sys.executable, "-W", "error", "-c", program, database_url]
    running = [
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(5)
    ]
    outputs = [process.communicate(timeout=60) for process in running]
    assert [(process.returncode, err) for process, (_, err) in zip(running, outputs)] == [(0, "")] * 5
    said = sorted(out.strip() for out, _ in outputs)
    assert said == ["Created the tables (revision 0004).", *["The tables are up to date (revision 0004)."] * 4]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("statement", ["CREATE TABLE poison_notes", "INSERT INTO rpi_health_alembic_version"])
def test_migration_that_is_cut_off_leaves_nothing(request: pytest.FixtureRequest, kind: str, statement: str) -> None:
    url = request.getfixturevalue(f"{kind}_url")
    with cut_off_at(statement):
        migrations.upgrade(url)
    assert tables(url) == set()


@pytest.mark.parametrize(
    "statement",
    ["CREATE UNIQUE INDEX ix_device_status", "CREATE TABLE poison_notes", "INSERT INTO rpi_health_alembic_version"],
)
def test_migration_that_is_cut_off_goes_on_at_the_next_call(database_url: str, statement: str) -> None:
    with cut_off_at(statement):
        migrations.upgrade(database_url)
    migrations.upgrade(database_url)
    assert_models_equal_tables(database_url)


def test_tables_of_other_applications_are_left_alone(database_url: str) -> None:
    own = "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"
    run(database_url, own, "INSERT INTO alembic_version VALUES ('ae1027a6acf')")
    migrations.upgrade(database_url)
    assert scalars(database_url, "SELECT version_num FROM alembic_version") == ["ae1027a6acf"]
    assert_models_equal_tables(database_url)
    migrations.downgrade(database_url, "base")
    assert tables(database_url) == {"alembic_version"}


def test_table_of_another_application_in_the_way_is_named(database_url: str) -> None:
    run(database_url, "CREATE TABLE device_history (id INTEGER PRIMARY KEY, note VARCHAR(10))")
    with pytest.raises(errors.DatabaseMisconfigured, match="device_history of another application: rename it"):
        migrations.upgrade(database_url)
    assert tables(database_url) == {"device_history"}


def test_check_accepts_current_tables(migrated_url: str) -> None:
    schema.check(migrated_url)
    engine = create_engine(migrated_url)
    schema.check(engine)
    with engine.connect() as connection:
        schema.check(connection)
    engine.dispose()


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_check_of_an_empty_database_names_the_command(request: pytest.FixtureRequest, kind: str) -> None:
    url = request.getfixturevalue(f"{kind}_url")
    with pytest.raises(errors.SchemaNotCurrent, match="has no tables of rpi-health: run `rpi-health init-db`"):
        schema.check(url)
    assert tables(url) == set()


def test_check_of_a_missing_file_creates_none(sqlite_url: str, tmp_path: Path) -> None:
    with pytest.raises(errors.SchemaNotCurrent, match="does not exist yet: run `rpi-health init-db`"):
        schema.check(sqlite_url)
    assert list(tmp_path.iterdir()) == []


def test_older_tables_are_told_from_newer_ones(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(schema, "REVISION", "9998")
        with pytest.raises(errors.SchemaNotCurrent, match=r"older version.*run `rpi-health init-db`"):
            schema.check(migrated_url)
    run(migrated_url, f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'")
    for use in (schema.check, migrations.upgrade):
        with pytest.raises(
            errors.SchemaNotCurrent, match=r"newer version.*\(revision 9999\): pip install -U rpi-health"
        ):
            use(migrated_url)


def test_only_init_db_makes_the_folder_for_its_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "rpi-health"
    url = f"sqlite:///{folder / 'fleet.db'}"
    with pytest.raises(errors.SchemaNotCurrent):
        schema.check(url)
    assert not folder.exists()
    migrations.upgrade(url)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_folder_that_cannot_be_made_is_a_matter_of_configuration(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.DatabaseMisconfigured, match="folder cannot be made"):
        migrations.upgrade(f"sqlite:///{tmp_path / 'file' / 'deeper' / 'fleet.db'}")


def test_migrating_writes_nothing_to_stdout(database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    migrations.upgrade(database_url)
    schema.check(database_url)
    migrations.downgrade(database_url, "base")
    assert capsys.readouterr().out == ""


def test_pages_of_device_status_have_room_for_updates_on_postgresql(postgresql_url: str) -> None:
    migrations.upgrade(postgresql_url)
    stored = scalars(postgresql_url, "SELECT unnest(reloptions) FROM pg_class WHERE relname = 'device_status'")
    assert stored == ["fillfactor=50"]
