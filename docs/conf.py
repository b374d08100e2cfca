"""How Sphinx makes a site of these pages, which are plain Markdown first: they read as well where they are stored.

Knows Sphinx and its extensions; `make docs` runs it. What a page says is not decided here.
"""

from __future__ import annotations

import re
from typing import Any

from rpi_health.settings import CONFIG_FILE, SETTINGS
from rpi_health.version import __version__

project = "rpi-health"
author = "The rpi-health authors"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]
exclude_patterns = ["_build"]

# A link that leads nowhere is a warning, and a warning ends the build.
nitpicky = True
# Types of other projects, which are not looked up: a build needs no network. Older Pythons leave out their modules.
nitpick_ignore_regex = [("py:.*", r"(sqlalchemy|sa|collections|datetime|typing)\..*|Mapped|datetime")]

# The anchors that Markdown viewers give to headings, so that one link is right in both.
myst_heading_anchors = 4

html_theme = "furo"
html_title = f"rpi-health {version}"
html_copy_source = html_show_sourcelink = False

# Docstrings say `name` for code, as comments do.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"


#: How sphinx-click begins the options for settings, which every command has.
_SHARED = tuple(f".. option:: {setting.flag} " for setting in (CONFIG_FILE, *SETTINGS) if not setting.command)


def leave_out_shared_options(_app: Any, context: Any, lines: list[str]) -> None:
    """Describe the options for settings once, with `rpi-health` itself."""
    if context.parent is not None:
        options = re.split(r"^(?=\.\. option:: )", "\n".join(lines), flags=re.MULTILINE)
        lines[:] = "".join(option for option in options if not option.startswith(_SHARED)).splitlines()


def keep_colons(_app: Any, what: str, _name: str, _object: Any, _options: Any, lines: list[str]) -> None:
    """Begin with an empty comment: Napoleon takes what is before a colon in a first line for the name of a type."""
    if what in ("attribute", "data", "property"):
        lines[:0] = ["..", ""]


def adapt_links(_app: Any, _page: str, source: list[str]) -> None:
    """Lead links to the changelog to its page here, and leave of those to folders, which are not here, their text."""
    text = source[0].replace("](../CHANGELOG.md", "](changelog.md")
    source[0] = re.sub(r"\[([^]]*)\]\(\.\./\w+/?\)", r"\1", text)


def setup(app: Any) -> None:
    app.connect("source-read", adapt_links)
    app.connect("sphinx-click-process-options", leave_out_shared_options)
    app.connect("autodoc-process-docstring", keep_colons, priority=400)  # before Napoleon, which has 500
