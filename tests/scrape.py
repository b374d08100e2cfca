"""What a consumer serves over HTTP, fetched as Prometheus and a service manager would."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.consuming import Consuming

SERVE = {"RPI_HEALTH_METRICS_ADDR": "127.0.0.1:0"}


class Served:
    """A consumer that serves its metrics and its health."""

    def __init__(self, consumer: Consuming) -> None:
        self.address: str = consumer.wait_for("serving")["address"]

    def get(self, path: str) -> tuple[int, str]:
        """The status, and what it says."""
        try:
            with urllib.request.urlopen(self.address + path, timeout=15) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def health(self, path: str) -> tuple[int, list[str]]:
        """The status of `/livez` or `/readyz`, and the reasons that it gives."""
        status, text = self.get(path)
        said: dict[str, Any] = json.loads(text)
        assert said["status"] == ("ok" if status == 200 else "unavailable")
        return status, said["reasons"]

    def value(self, name: str, labels: Mapping[str, str] | None = None) -> float:
        """The value of a sample; it must be there once."""
        (value,) = (each for each, its in self.samples(name) if labels is None or its == labels)
        return value

    def samples(self, name: str) -> list[tuple[float, dict[str, str]]]:
        """All values of a sample's name, with their labels."""
        families = text_string_to_metric_families(self.get("/metrics")[1])
        found = [sample for family in families for sample in family.samples if sample.name == name]
        return [(sample.value, sample.labels) for sample in found]
