"""Labels as text that can be shown: nothing invisible, nothing that disturbs its neighbours.

Every drawing (terminal, SVG, page) shows `visible(label)`, never the label itself. Widths come in
two units: terminal cells, which are exact, and ems, which bound what a proportional font draws.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Iterator

from wcwidth import iter_graphemes, wcswidth, wcwidth

_SPACE = "\u2423"  # open box: the usual sign for a space that matters
_EMPTY = "\u2205"
_CARRIER = "\u25cc"  # dotted circle: what a combining mark stands on when it has no letter
_JOINERS = "\u200c\u200d"  # they shape Persian, Indic scripts and emoji
_ISOLATE, _POP = "\u2068", "\u2069"
_ESCAPED = {"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"}
_STRONG_RIGHT_TO_LEFT = {"R", "AL", "AN"}

# The widest advances, in ems, of the common fonts (DejaVu Sans, Noto Sans and its scripts).
_ASCII = (
    dict.fromkeys("ijlI.,:;'|!ft()[]-/\\rJ ", 0.42)
    | dict.fromkeys("<>+=~^#w", 0.85)
    | dict.fromkeys("mMW@%", 1.0)
)
_BY_BLOCK = {  # first code point of a block -> widest letter of the blocks up to the next
    0x0080: 0.95,  # Latin, Greek and Cyrillic
    0x0530: 1.0,  # Armenian
    0x0590: 0.75,  # Hebrew
    0x0600: 0.95,  # Arabic (joined: alone, a letter takes 1.2 and has the margin of the word)
    0x0900: 1.1,  # northern Indic
    0x0B80: 1.7,  # southern Indic
    0x0E00: 1.0,  # Thai, Lao, Tibetan
    0x1000: 1.5,  # Burmese
    0x10A0: 1.1,  # everything up to presentation forms and emoji
    0xFDFD: 7.3,  # one character, a whole sentence
    0xFDFE: 1.1,
    0x10000: 1.6,
    0x12000: 4.7,  # cuneiform
    0x13000: 1.6,
}
_BLOCKS, _WIDEST = list(_BY_BLOCK), list(_BY_BLOCK.values())


def visible(label: str) -> str:
    r"""Return the label with every invisible or disturbing character spelled out.

    Control, format and unusual space characters become escapes (`\x1b`, `\u202e`), spaces at
    either end an open box; a leading combining mark gets a dotted circle; an empty label is ∅.
    """
    shown = "".join(map(_character, label))
    stripped = shown.strip(" ")
    if not stripped:
        return _SPACE * len(shown) or _EMPTY
    before = len(shown) - len(shown.lstrip(" "))
    after = len(shown) - before - len(stripped)
    if unicodedata.category(stripped[0]).startswith("M"):
        stripped = _CARRIER + stripped
    if cells(stripped) <= 0:
        stripped = _escape(stripped)
    return _SPACE * before + stripped + _SPACE * after


def _character(character: str) -> str:
    if character == " " or character in _JOINERS:
        return character
    code = ord(character)
    never_a_character = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
    if never_a_character or unicodedata.category(character) in _ESCAPED:
        return _escape(character)
    return character


def _escape(text: str) -> str:
    return text.encode("unicode_escape").decode("ascii")


def cells(text: str) -> int:
    """Return how many terminal cells a visible text takes."""
    return wcswidth(text)


def ems(text: str) -> float:
    """Return an upper bound of the width that a sans-serif font gives a visible text, in ems.

    An upper bound, since a wide margin is a blemish and a label that is cut is an error. Ligatures
    are measured as what they stand for too: U+FDFA holds eighteen letters.
    """
    expanded = unicodedata.normalize("NFKD", text)
    return 0.3 + max(sum(map(_ems, text)), sum(map(_ems, expanded)))


def _ems(character: str) -> float:
    wide = wcwidth(character)
    if wide > 1:
        return 0.68 * wide  # an emoji takes 1.3 em, an ideograph 1
    if unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return 0.0
    if character.isascii():
        return _ASCII.get(character, 0.79 if character.isupper() else 0.64)
    return _WIDEST[bisect_right(_BLOCKS, ord(character)) - 1]


def reads_right_to_left(text: str) -> bool:
    """Say whether the text holds any Hebrew, Arabic or other right-to-left character."""
    return any(unicodedata.bidirectional(character) in _STRONG_RIGHT_TO_LEFT for character in text)


def isolate(text: str) -> str:
    """Wrap a right-to-left text in U+2068 ... U+2069: it cannot reorder what is beside it.

    The characters rather than an attribute: terminals have no attributes, and SVG renderers
    outside browsers ignore `direction`.
    """
    return f"{_ISOLATE}{text}{_POP}" if reads_right_to_left(text) else text


def graphemes(text: str) -> list[str]:
    """Return what a reader calls characters: a letter with its marks, a joined emoji."""
    return list(iter_graphemes(text))


def fold(text: str, limit: int) -> list[str]:
    """Break a visible text into lines of at most `limit` cells, at spaces where there are any."""
    lines, line = [], ""
    for piece in _pieces(text, limit):
        if line and cells(line + piece.rstrip(" ")) > limit:
            lines.append(line.rstrip(" "))
            line = ""
        line += piece
    return [*lines, line.rstrip(" ")]


def _pieces(text: str, limit: int) -> Iterator[str]:
    """Yield words with the space after them, and graphemes where a word exceeds the limit."""
    for word in text.replace(" ", " \n").split("\n"):
        if cells(word.rstrip(" ")) <= limit:
            yield word
        else:
            yield from iter_graphemes(word)
