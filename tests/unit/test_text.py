"""What is shown to people cannot move their cursor, change their colours or pass for something else."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpi_health.text import clean, has_hidden, is_hidden, storable

ANY_TEXT = st.text(st.characters())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\0\x7f\x9b", "\\x00\\x7f\\x9b"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\u2066\u061c", "\\u2066\\u061c"),
        ("a\u200bb\u200dc\ufeff", "a\\u200bb\\u200dc\\ufeff"),
        ("\u2028\u2029", "\\u2028\\u2029"),
        ("\ud800", "\\ud800"),
        ("\ue000\u0378\uffff", "\\ue000\\u0378\\uffff"),
        ("\U000e0041", "\\U000e0041"),
        ("\u3164\u034f\ufe00", "\\u3164\\u034f\\ufe00"),
    ],
)
def test_what_does_not_show_as_itself_becomes_an_escape(text: str, shown: str) -> None:
    assert clean(text) == shown


@pytest.mark.parametrize(
    "text", ["", "plain", "São Paulo", "樹莓派", "🍓", "❤️", "a\u00a0b\u3000c", "[red]x", "\\x1b", "e\u0301"]
)
def test_what_shows_as_itself_stays(text: str) -> None:
    assert clean(text) == text


def test_longer_text_is_cut_with_an_ellipsis() -> None:
    assert clean("abcdef", 5) == "abcd…"


def test_text_at_the_limit_is_not_cut() -> None:
    assert clean("abcde", 5) == "abcde"


def test_escapes_count_towards_the_limit() -> None:
    assert clean("\x1b\x1b", 6) == "\\x1b\\…"


@given(ANY_TEXT, st.none() | st.integers(1, 50))
def test_cleaned_text_is_clean(text: str, limit: int | None) -> None:
    cleaned = clean(text, limit)

    assert clean(cleaned, limit) == cleaned
    assert not has_hidden(cleaned)
    assert limit is None or len(cleaned) <= limit
    cleaned.encode()


@given(ANY_TEXT)
def test_text_without_hidden_characters_is_not_changed(text: str) -> None:
    assert (clean(text) == text) == (not has_hidden(text))


@given(st.characters())
def test_other_categories_are_hidden(char: str) -> None:
    if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
        assert is_hidden(char)


@given(ANY_TEXT)
def test_storable_text_has_no_controls_and_can_be_encoded(text: str) -> None:
    stored = storable(text)

    stored.encode()
    assert all(char in "\t\n\r" or unicodedata.category(char) != "Cc" for char in stored)
    assert stored == "".join(char for char in text if char in stored)
