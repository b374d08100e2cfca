"""What is in `contrib/`, taken apart: the alerts with their tests, the dashboard, and the PromQL of both.

Reads PromQL only as far as names and labels of metrics go; whether it is right, promtool tells.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from rpi_health.monitor.catalogue import FAMILIES, HISTOGRAM, Family
from tests.pages import ROOT
from tools.servers.process import find_program

PROMETHEUS = ROOT / "contrib" / "prometheus"
DASHBOARD = ROOT / "contrib" / "grafana" / "rpi-health.json"

#: What Prometheus gives to each series of a scrape.
TARGET_LABELS = {"job", "instance"}
_SELECTOR = re.compile(r"\b(rpi_health_\w+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')


class Selector(NamedTuple):
    """What an expression asks for: a metric, and a label, an operator and a value for each of its matchers."""

    name: str
    matchers: list[tuple[str, str, str]]


def promtool(*args: str | Path) -> subprocess.CompletedProcess[str]:
    """Run promtool in the folder of the rules."""
    program = find_program(["promtool"], [], "prometheus")
    return subprocess.run(
        [program, *args], cwd=PROMETHEUS, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def alerts() -> list[dict[str, Any]]:
    """The alerts, in order."""
    read = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())
    return [rule for group in read["groups"] for rule in group["rules"]]


def alert_tests() -> list[dict[str, Any]]:
    """The tests of the alerts."""
    tests: list[dict[str, Any]] = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"]
    return tests


def dashboard() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return read


def rows() -> list[list[dict[str, Any]]]:
    """The panels that share a canvas: all that is seen at first, then the content of each collapsed row."""
    outer: list[dict[str, Any]] = dashboard()["panels"]
    return [outer, *(panel["panels"] for panel in outer if panel["type"] == "row")]


def panels() -> list[dict[str, Any]]:
    """The panels that show something."""
    return [panel for row in rows() for panel in row if panel["type"] != "row"]


def expressions() -> list[str]:
    """All PromQL of the dashboard, with a span in place of Grafana's own variable for one."""
    shown = [target["expr"] for panel in panels() for target in panel["targets"]]
    marked = [one["expr"] for one in dashboard()["annotations"]["list"]]
    return [expression.replace("$__rate_interval", "5m") for expression in shown + marked]


def queries() -> list[str]:
    """What the variables of the dashboard ask for."""
    return [variable["definition"] for variable in dashboard()["templating"]["list"] if variable["type"] == "query"]


def selectors(expression: str) -> Iterator[Selector]:
    """The metrics of rpi-health that an expression, or the name of a series, asks for."""
    for name, matchers in _SELECTOR.findall(expression):
        yield Selector(name, _MATCHER.findall(matchers))


def series() -> dict[str, tuple[Family, set[str]]]:
    """The names under which the families of the catalogue are stored: the family, and the labels, of each."""
    found = {}
    for family in FAMILIES:
        labels = TARGET_LABELS | ({family.label} if family.label else set())
        if family.kind == HISTOGRAM:
            found[f"{family.name}_bucket"] = (family, labels | {"le"})
            found.update({f"{family.name}_{suffix}": (family, labels) for suffix in ("sum", "count")})
        else:
            found[family.name] = (family, labels)
    return found
