"""The documentation as a site: built without a warning, its links lead somewhere, and it lists what there is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click
import pytest

import rpi_health
from rpi_health import errors
from rpi_health.cli import main as command
from rpi_health.monitor import catalogue
from rpi_health.settings import SETTINGS
from tests.pages import PAGES, ROOT

DOCS = ROOT / "docs"


@dataclass
class Page(HTMLParser):
    """A page of the site: where its links lead, what may be linked to, and its text, blanks as one."""

    path: Path
    links: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.path.read_text())
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.anchors.add(given.get("id") or "")
        self.links.extend(link for name in ("href", "src") if (link := given.get(name)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does."""
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "--quiet", "-d", str(folder / "cache")]
    done = subprocess.run([*build, str(DOCS), str(folder / "html")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "html"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html")}


def page_of(name: str, site: Path, pages: dict[Path, Page]) -> Page:
    return pages[site / f"{name}.html"]


def commands_in(group: click.Group, above: str) -> Iterator[str]:
    """The commands of a group and of the groups in it, as they are typed."""
    with click.Context(group) as context:
        for name in group.list_commands(context):
            found = group.get_command(context, name)
            yield f"{above} {name}"
            if isinstance(found, click.Group):
                yield from commands_in(found, f"{above} {name}")


def test_every_page_is_on_the_site(site: Path, pages: dict[Path, Page]) -> None:
    written = {site / path.relative_to(DOCS).with_suffix(".html") for path in PAGES if DOCS in path.parents}
    assert written <= set(pages)


def test_links_on_the_site_lead_somewhere(pages: dict[Path, Page]) -> None:
    for page in pages.values():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
            assert target.exists(), f"{page.path.name}: {link}"
            if target in pages and parts.fragment:
                assert unquote(parts.fragment) in pages[target].anchors, f"{page.path.name}: {link}"


def test_every_command_is_on_the_site(site: Path, pages: dict[Path, Page]) -> None:
    reference = page_of("commands", site, pages)
    for name in commands_in(command, "rpi-health"):
        assert f"{name} [OPTIONS]" in reference.text
        assert name.replace(" ", "-") in reference.anchors


def test_option_of_a_setting_is_described_once(site: Path, pages: dict[Path, Page]) -> None:
    reference = page_of("commands", site, pages)
    for setting in SETTINGS:
        described = f"{setting.flag} <{setting.metavar}>" if setting.metavar else ""
        assert not described or reference.text.count(described) == 1


def test_every_setting_is_on_the_site(site: Path, pages: dict[Path, Page]) -> None:
    reference = page_of("configuration", site, pages)
    for setting in SETTINGS:
        assert setting.name in reference.text
        assert setting.environment in reference.text


def test_every_reason_is_on_the_site(site: Path, pages: dict[Path, Page]) -> None:
    reference = page_of("message-format", site, pages)
    assert [reason for reason in errors.REASONS if reason not in reference.text] == []


def test_every_metric_is_on_the_site(site: Path, pages: dict[Path, Page]) -> None:
    reference = page_of("monitoring", site, pages)
    families = (*catalogue.CONSUMER, *catalogue.FLEET, *catalogue.DEVICE)
    assert [family.name for family in families if family.name not in reference.text] == []


def test_every_public_name_is_on_the_site(site: Path, pages: dict[Path, Page]) -> None:
    public = {f"rpi_health.{name}" for name in rpi_health.__all__ if name not in ("__version__", "shared")}
    public |= {"rpi_health.shared.received_messages"}
    public |= {f"rpi_health.database.{name}" for name in ("SessionLocal", "DeviceStatus", "DeviceHistory")}
    public |= {f"rpi_health.errors.{name}" for name, kind in vars(errors).items() if isinstance(kind, type)}
    assert public <= page_of("python", site, pages).anchors
