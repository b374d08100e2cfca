"""How numbers look in the tables. Pure."""

from __future__ import annotations

from collections.abc import Mapping


def number(value: float) -> str:
    """Three significant digits, or all those before the point: 12,345, 678, 91.2, 3.46, 0.572, 0.00853."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:#.3g}" if value else "0"


def ratio(value: float) -> str:
    """How many times as much: ×0.572, ×25.3, ×1,234."""
    return f"×{number(value)}"


def span_text(span: Mapping[str, float]) -> str:
    """The ends of a span that went through JSON: 6,789 … 7,890."""
    return f"{number(span['least'])} … {number(span['most'])}"
