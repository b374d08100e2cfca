"""The alerts and the dashboard in `contrib/` ask for metrics that there are, and say what is true."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click
import pytest

from rpi_health.cli.group import Commands
from rpi_health.monitor.catalogue import FAMILIES, Family
from rpi_health.settings import SETTINGS
from tests.packaging import contrib
from tests.packaging.contrib import DASHBOARD, Selector, promtool, selectors

SERIES = contrib.series()
ALERTS = contrib.alerts()
PANELS = contrib.panels()
# Of the units that Grafana knows, those that may be used here: a wrong one would be shown as it is, and no error.
UNITS = {"s", "bytes", "Bps", "celsius", "mps", "percentunit", "short"}


def asked() -> dict[str, list[Selector]]:
    """All that is asked for, by where."""
    series = [one["series"] for test in contrib.alert_tests() for one in test["input_series"]]
    places = {
        "alerts.yml": [alert["expr"] for alert in ALERTS],
        "alerts_test.yml": series,
        DASHBOARD.name: contrib.expressions() + contrib.queries(),
    }
    return {place: [found for text in texts for found in selectors(text)] for place, texts in places.items()}


def texts() -> list[str]:
    """All that people read."""
    said = [text for alert in ALERTS for text in alert["annotations"].values()]
    return said + [panel["description"] for panel in PANELS]


def alert_names(*, firing: bool) -> set[str]:
    """The alerts that the tests expect to fire, or to stay silent, at some time."""
    looks = [look for test in contrib.alert_tests() for look in test["alert_rule_test"]]
    return {look["alertname"] for look in looks if bool(look.get("exp_alerts")) is firing}


# ── As promtool has it ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "args",
    [("check", "config", "scrape.yml"), ("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")],
    ids=" ".join,
)
def test_promtool_is_content(args: tuple[str, ...]) -> None:
    done = promtool(*args)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_expression_of_the_dashboard_is_promql(tmp_path: Path) -> None:
    rules = [{"record": f"dashboard:{n}", "expr": text} for n, text in enumerate(contrib.expressions())]
    file = tmp_path / "dashboard.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))  # JSON is YAML, too
    done = promtool("check", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules)} rules found" in done.stdout


# ── As the catalogue has it ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("place", asked())
def test_what_is_asked_for_is_in_the_catalogue(place: str) -> None:
    found = asked()[place]
    assert found
    for name, matchers in found:
        assert name in SERIES
        family, labels = SERIES[name]
        assert {label for label, _, _ in matchers} <= labels, name
        for label, operator, value in matchers:
            if label == family.label and family.values and operator == "=":
                assert value in family.values, name


def test_labels_that_are_summed_by_are_in_the_catalogue() -> None:
    for expression in [alert["expr"] for alert in ALERTS] + contrib.expressions():
        clauses = re.findall(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)", expression)
        there: set[str] = set().union(*(SERIES[name][1] for name, _ in selectors(expression)), contrib.TARGET_LABELS)
        assert {label.strip() for clause in clauses for label in clause.split(",")} <= there, expression


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_metric_is_on_the_dashboard(family: Family) -> None:
    assert family in [SERIES[name][0] for name, _ in asked()[DASHBOARD.name]]


# ── Alerts ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_every_alert_has_a_severity_and_says_what_mends_it(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert set(alert["annotations"]) == {"summary", "description"}
    assert re.search("`rpi-health |Restart", alert["annotations"]["description"])


def test_every_alert_is_seen_to_fire_and_to_stay_silent() -> None:
    names = {alert["alert"] for alert in ALERTS}
    assert len(names) == len(ALERTS)
    assert alert_names(firing=True) == names
    assert alert_names(firing=False) == names


def test_no_id_of_a_device_stands_in_a_command() -> None:
    # A device may call itself what it likes, and somebody may paste the command into a shell.
    for text in texts():
        assert not re.search(r"`[^`]*raspberry_id[^`]*`", text)


def test_commands_and_settings_that_are_named_exist() -> None:
    named = [name for text in texts() for name in re.findall(r"`([^`]+)`", text)]
    for name in named:
        if name.startswith("rpi-health "):
            assert options_of(name) <= known_options(name), name
        elif not name.startswith("/"):
            assert name in {setting.name for setting in SETTINGS}, name
    assert any(name.startswith("rpi-health ") for name in named)


def options_of(line: str) -> set[str]:
    return set(re.findall(r"--[a-z-]+", line))


def known_options(line: str) -> set[str]:
    """The options of the command that a line calls, which must exist."""
    command: click.Command | None = Commands(name="rpi-health")
    context = click.Context(Commands(name="rpi-health"))
    for word in line.split(" --")[0].split()[1:]:
        assert isinstance(command, click.Group), line
        command = command.get_command(context, word)
    assert command is not None, line
    return {option for parameter in command.params for option in parameter.opts}


# ── The dashboard ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_every_panel_is_explained_and_takes_the_chosen_data_source(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith((".", "`"))
    assert {one["datasource"]["uid"] for one in [panel, *panel["targets"]]} == {"${datasource}"}


def test_units_are_those_of_grafana() -> None:
    defaults = [panel["fieldConfig"]["defaults"] for panel in PANELS]
    overrides = [rule for panel in PANELS for one in panel["fieldConfig"]["overrides"] for rule in one["properties"]]
    used = {one["unit"] for one in defaults} | {rule["value"] for rule in overrides if rule["id"] == "unit"}
    assert used == UNITS


def test_panels_do_not_overlap() -> None:
    for row in contrib.rows():
        cells = [cell for panel in row for cell in cells_of(**panel["gridPos"])]
        assert len(cells) == len(set(cells))


def test_ids_of_panels_are_unique() -> None:
    ids = [panel["id"] for row in contrib.rows() for panel in row]
    assert len(ids) == len(set(ids))


def cells_of(x: int, y: int, w: int, h: int) -> list[tuple[int, int]]:
    assert x + w <= 24
    return [(column, line) for column in range(x, x + w) for line in range(y, y + h)]


def test_variables_that_are_used_are_defined() -> None:
    defined = {variable["name"] for variable in contrib.dashboard()["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]\w*)", DASHBOARD.read_text()))
    assert used == defined


def test_file_is_tidy_and_of_no_installation() -> None:
    text = DASHBOARD.read_text()
    assert text == json.dumps(contrib.dashboard(), indent=2, ensure_ascii=False) + "\n"
    assert contrib.dashboard()["id"] is None
