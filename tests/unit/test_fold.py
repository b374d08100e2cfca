"""`fold` must give what applying the reports one by one would give."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from rpi_health.report import Report, State
from rpi_health.store.fold import fold

NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
FIELDS = 3


def report(device: str, minute: int, present: int, value: int, heard: int = 0) -> Report:
    state = State(*[value if present >> bit & 1 else None for bit in range(len(State._fields))])
    at = NOON + timedelta(minutes=minute)
    return Report(device, at, at, NOON + timedelta(minutes=heard), b"", None, state, present, {})


reports = st.builds(
    report,
    st.sampled_from("abc"),
    st.integers(0, 5),
    st.integers(0, 2**FIELDS - 1),
    st.integers(0, 99),
    st.integers(0, 9),
)


class Row:
    """A row of device_status, kept by the rule as the contract words it: the oracle."""

    def __init__(self) -> None:
        self.reported_at: datetime | None = None
        self.values: dict[int, object] = {}

    def apply(self, report: Report) -> None:
        if self.reported_at is not None and report.reported_at < self.reported_at:
            return
        self.reported_at = report.reported_at
        self.values.update({bit: report.state[bit] for bit in range(FIELDS) if report.present >> bit & 1})


def rows_after(sequence: list[Report], stored: dict[str, Row]) -> dict[str, tuple[datetime | None, dict[int, object]]]:
    for one in sequence:
        stored.setdefault(one.raspberry_id, Row()).apply(one)
    return {device: (row.reported_at, row.values) for device, row in stored.items()}


@given(before=st.lists(reports, max_size=3), batch=st.lists(reports, max_size=12))
def test_folded_batch_leaves_the_rows_that_its_reports_leave_one_by_one(
    before: list[Report], batch: list[Report]
) -> None:
    one_by_one, folded = {}, {}
    rows_after(before, one_by_one)
    rows_after(before, folded)
    rounds = [row.report for round_ in fold(batch) for row in round_]
    assert rows_after(rounds, folded) == rows_after(batch, one_by_one)


@given(st.lists(reports, max_size=12))
def test_a_round_holds_each_device_once_and_is_sorted(batch: list[Report]) -> None:
    for round_ in fold(batch):
        devices = [row.report.raspberry_id for row in round_]
        assert devices == sorted(set(devices))


@given(st.lists(reports, min_size=1, max_size=12))
def test_later_rounds_touch_only_devices_of_the_first(batch: list[Report]) -> None:
    first, *later = [{row.report.raspberry_id for row in round_} for round_ in fold(batch)]
    assert first == {one.raspberry_id for one in batch}
    assert all(devices <= first for devices in later)


@given(st.lists(reports, min_size=1, max_size=12))
def test_first_and_last_time_heard_cover_the_whole_batch(batch: list[Report]) -> None:
    rounds = fold(batch)
    for device in {one.raspberry_id for one in batch}:
        heard = [one.heard_at for one in batch if one.raspberry_id == device]
        rows = [row for round_ in rounds for row in round_ if row.report.raspberry_id == device]
        assert max(row.last_heard_at for row in rows) == max(heard)
        assert min(row.first_heard_at for row in rows) == min(heard)


def test_reports_with_equal_keys_fold_into_one_round() -> None:
    batch = [report("a", minute, 0b111, minute) for minute in range(50)]
    assert [len(round_) for round_ in fold(batch)] == [1]


def test_the_later_of_two_equally_old_reports_wins() -> None:
    assert fold([report("a", 1, 1, 10), report("a", 1, 1, 20)])[0][0].report.state[0] == 20
