"""The files under test, taken apart: the instructions of the Dockerfile, and the settings that a file names.

Reads a Dockerfile as far as ours uses its language; runs nothing.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

from rpi_health.durations import parse_duration_s
from rpi_health.settings import BY_NAME, CONFIG_FILE, SETTINGS

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "Dockerfile"
COMPOSE = ROOT / "compose.yaml"

#: How long a consumer that was told to stop may take, by default, to close its connections after it has stored all.
CLOSING_S = 5.0


class Instruction(NamedTuple):
    """An instruction of a Dockerfile, as `COPY` and what stands behind it."""

    name: str
    value: str


def instructions() -> list[Instruction]:
    """Those of the Dockerfile, in order."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", "")
    return [Instruction(*line.split(maxsplit=1)) for line in joined.splitlines() if line]


def values(name: str) -> list[str]:
    """What stands behind each instruction of a name."""
    return [instruction.value for instruction in instructions() if instruction.name == name]


def copied() -> list[str]:
    """The files and folders that the image is built from."""
    from_context = [value.split() for value in values("COPY") if not value.startswith("--from=")]
    return [source for *sources, _ in from_context for source in sources]


def image_environment() -> dict[str, str]:
    """The variables that the image sets."""
    (value,) = values("ENV")
    return dict(pair.split("=", 1) for pair in value.split())


def health_check() -> list[str]:
    """The command that tells whether a container is well."""
    (value,) = values("HEALTHCHECK")
    command: list[str] = json.loads(value[value.index("CMD") + len("CMD") :])
    return command


def variables_in(text: str) -> set[str]:
    """The names of our environment variables in a file, comments included."""
    return set(re.findall(r"\bRPI_HEALTH_[A-Z_]+\b", text))


def known_variables() -> set[str]:
    """All that the configuration reads."""
    by_file = {setting.file_environment for setting in SETTINGS if setting.from_file}
    return {setting.environment for setting in (CONFIG_FILE, *SETTINGS)} | by_file


def default_s(setting: str) -> float:
    """The default of a setting that is a duration."""
    return parse_duration_s(BY_NAME[setting].default)
