"""Pictures of what people see. With `UPDATE_GOLDEN=1` in the environment, what is shown becomes the picture."""

from __future__ import annotations

import os
from pathlib import Path

#: Where they are.
GOLDEN = Path(__file__).parent / "golden"


def assert_golden(name: str, text: str) -> None:
    """See that a text, blanks at the ends of lines aside, is the one of this name in `golden/`."""
    text = "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
