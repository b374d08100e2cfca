"""What the benchmarks make of their samples. `make bench` takes them."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timezone

import pytest

from benchmarks import consumers, growth, memory
from benchmarks.contenders import CONTENDERS, Sample
from benchmarks.machine import warnings
from benchmarks.messages import bodies
from benchmarks.options import Options
from benchmarks.proc import cpu_of_process_s, cpu_of_tree_s, memory_mib, peak_memory_mib
from benchmarks.summary import Span, percentile, ratios, span
from benchmarks.tables import number, ratio, span_text
from benchmarks.throughput import summarised, tables
from rpi_health.payload import decode
from rpi_health.report import Envelope

NOW_S = 1_790_000_000.0
ENVELOPE = Envelope(datetime.fromtimestamp(NOW_S, timezone.utc), b"delivery")


def sample(messages_per_second: float) -> Sample:
    return Sample(100, 100 / messages_per_second, messages_per_second, 20.0, 3.0, 4.0, 50.0, 1.0)


def test_span_has_the_median_and_both_ends() -> None:
    assert span([5.0, 1.0, 3.0]) == Span(3.0, 1.0, 5.0)


@pytest.mark.parametrize(("percent", "expected"), [(50, 5.0), (99, 10.0), (90, 9.0), (0, 1.0), (100, 10.0)])
def test_percentile_is_a_sample_that_so_many_do_not_exceed(percent: float, expected: float) -> None:
    assert percentile([float(n) for n in range(10, 0, -1)], percent) == expected


def test_ratios_are_to_those_that_took_part() -> None:
    assert ratios({"a": 2.0, "b": 8.0}, ["b", "absent"]) == {"a": {"b": 0.25}, "b": {"b": 1.0}}


def test_contenders_are_compared_by_their_medians() -> None:
    chosen = [each for each in CONTENDERS if each.name in ("noop", "rpi-health-sqlite")]
    samples = {"noop": [sample(100), sample(300), sample(200)], "rpi-health-sqlite": [sample(50), sample(70)]}
    found = summarised(chosen, samples)
    assert found["rpi-health-sqlite"]["ratio_to"] == {"noop": 0.3}
    assert found["noop"]["messages_per_second"] == {"median": 200, "least": 100, "most": 300}
    assert found["noop"]["server_cpu_us"]["median"] == 7.0


def test_tables_have_a_row_for_each_contender_and_a_column_for_each_yardstick() -> None:
    found = summarised(CONTENDERS, {each.name: [sample(100)] for each in CONTENDERS})
    costs, compared = tables(json.loads(json.dumps({"messages": 100, "devices": 10, "contenders": found})))
    assert costs.row_count == compared.row_count == len(CONTENDERS)
    assert len(compared.columns) == 1 + sum(each.is_yardstick for each in CONTENDERS)


@pytest.mark.parametrize(
    ("value", "text"), [(12345.6, "12,346"), (91.24, "91.2"), (3.456, "3.46"), (0.00853, "0.00853"), (0, "0")]
)
def test_numbers_have_three_digits_or_more(value: float, text: str) -> None:
    assert number(value) == text
    assert ratio(value) == f"×{text}"


def test_span_is_shown_by_its_ends() -> None:
    assert span_text(Span(2.0, 1.0, 3000.0)._asdict()) == "1.00 … 3,000"


@pytest.mark.parametrize(
    ("only", "wanted"), [((), True), (("seed",), True), (("see",), False), (("seed-sqlite",), True)]
)
def test_only_takes_names_and_their_beginnings(only: tuple[str, ...], wanted: bool) -> None:
    assert Options(only).wants("seed-sqlite") == wanted


def test_names_that_fit_nothing_are_told() -> None:
    assert Options(("noop", "nope")).unknown(["noop", "seed-sqlite"]) == ["nope"]


@pytest.mark.parametrize("shuffled", [False, True])
def test_messages_are_reports_that_differ_in_device_or_time(shuffled: bool) -> None:
    sent = list(bodies(50, 10, now_s=NOW_S, shuffled=shuffled))
    reports = [decode(body, ENVELOPE) for body in sent]
    assert len({(report.raspberry_id, report.reported_at) for report in reports}) == 50
    assert len({report.raspberry_id for report in reports}) <= 10


def test_messages_go_on_where_the_last_ones_ended() -> None:
    one_go = list(bodies(20, 7, now_s=NOW_S))
    assert [*bodies(12, 7, now_s=NOW_S), *bodies(8, 7, now_s=NOW_S, first=12)] == one_go


def test_messages_are_filled_up_to_a_size() -> None:
    assert {len(body) for body in bodies(3, 2, now_s=NOW_S, size_bytes=5000)} == {5000}


def test_memory_grows_by_what_is_resident_at_the_end_and_was_not_after_a_tenth() -> None:
    samples = [memory.Sample(consumed, 50 + consumed / 1000) for consumed in range(0, 10_001, 100)]
    found = memory.growth(samples, 10_000)
    assert found == {"after_first_tenth_mib": 51.0, "at_the_end_mib": 59.9, "growth_mib": pytest.approx(8.9)}


def test_large_tables_are_compared_with_small_ones_where_both_took_part() -> None:
    few, many = growth.scenarios()[:2]
    rates = {few.name: [100.0, 200.0, 300.0]}
    found = growth.summarised([few, many], {**rates, many.name: [150.0, 150.0, 600.0]})
    assert found[many.name]["ratio"] == 0.75
    assert found[many.name]["ratio_in_each_round"] == [1.5, 0.75, 2.0]
    assert growth.summarised([many], {many.name: [150.0]})[many.name]["ratio"] is None


def test_several_consumers_are_compared_with_one() -> None:
    found = consumers.summarised({1: [consumers.Sample(100, 0, 0, 0)], 2: [consumers.Sample(150, 1, 2, 0)] * 2}, 2)
    assert (found["ratio_to_one"], found["deadlocks"], found["database_retries"]) == (1.5, 2, 4)


def test_busy_machine_and_disk_in_memory_are_warned_of() -> None:
    assert warnings({"file_system": "ext4", "load_before": 0.1, "cores": 2}) == []
    assert len(warnings({"file_system": "tmpfs", "load_before": 1.0, "cores": 2})) == 2


def test_processes_are_measured() -> None:
    program = "import sys; sum(range(5_000_000)); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        assert cpu_of_process_s(child.pid) > 0.01
        assert cpu_of_tree_s(child.pid) == pytest.approx(cpu_of_process_s(child.pid), abs=0.1)
        assert 1 < memory_mib(child.pid) <= peak_memory_mib(child.pid)
        child.stdin.close()
