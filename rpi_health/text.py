"""What text may do to those who read it: the one function for everything shown to people, and one for what is stored.

Knows Unicode; not JSON, reports, terminals or databases. "Unassigned" is judged by the tables of the running Python: an
emoji newer than they are counts as unassigned until Python is updated.
"""

from __future__ import annotations

import re
import unicodedata

#: The blanks that are trimmed from the ends of an id: ASCII's four and Unicode's space separators (Zs), no controls.
BLANKS = " \t\n\r\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"

# Letters and marks without a glyph of their own (joiners, fillers, variation selectors): `str.isprintable` lets them
# pass. The two selectors that emoji need, U+FE0E and U+FE0F, are not among them.
_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0d\uffa0\U000e0100-\U000e01ef]")

# What no database stores as text on every system, and no reader wants: controls but tab and line ends, lone surrogates.
_UNSTORABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]+")


def clean(text: str, limit: int | None = None) -> str:
    """Make text safe to show on a terminal, in a log line or in a message header.

    Controls, ESC, bidi controls, zero-width characters, line separators, lone surrogates, private and unassigned
    characters become visible escapes such as `\\x1b` or `\\u202e`; accents, CJK and emoji stay. What has been cleaned
    is not changed by cleaning it again.

    Args:
        text: any text, however hostile.
        limit: the greatest length of the answer in characters, at least 1; longer text ends in `…`.
    """
    if limit is not None:
        text = text[: limit + 1]  # an escape is never shorter: what lies beyond cannot be shown anyway
    if has_hidden(text):
        text = "".join([_escape(char) if is_hidden(char) else char for char in text])
    if limit is not None and len(text) > limit:
        text = text[: limit - 1] + "…"
    return text


def is_plain(text: str) -> bool:
    """Tell whether each character of the text is a printable one with a glyph, or U+0020."""
    return text.isprintable() and (text.isascii() or _INVISIBLE.search(text) is None)


def has_hidden(text: str) -> bool:
    """Tell whether any character of the text does not show as what it is."""
    return not is_plain(text) and any(map(is_hidden, text))


def is_hidden(char: str) -> bool:
    """Tell whether a character is a control, bidi, zero-width, unassigned or private one, or half a surrogate pair."""
    if char.isprintable():
        return _INVISIBLE.match(char) is not None
    return unicodedata.category(char) != "Zs"  # blanks other than U+0020 are not "printable", but harmless


def is_private(char: str) -> bool:
    """Tell whether a character means what its users agreed on: it shows as something, but nobody else knows as what."""
    return unicodedata.category(char) == "Co"


def storable(text: str) -> str:
    """Remove what cannot be stored: controls (but tab, line feed and carriage return) and lone surrogates."""
    return _UNSTORABLE.sub("", text)


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
