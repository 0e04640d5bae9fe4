"""Which installed fonts can draw a text, as fontconfig tells it."""

from __future__ import annotations

import shutil
import subprocess
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

from qkv.view.labels import graphemes

_REGULAR, _BOLD, _NORMAL_WIDTH = "80", "200", "100"  # fontconfig's numbers
_FORMAT = "%{file}|%{family[0]}|%{weight}|%{slant}|%{width}|%{color}|%{charset}\\n"


@dataclass(frozen=True)
class Face:
    """One upright font of normal width, and the characters it has."""

    file: str
    family: str
    weight: str
    colour: bool
    starts: tuple[int, ...]  # of the ranges of code points, ascending
    ends: tuple[int, ...]

    def draws(self, character: str) -> bool:
        """Say whether the font has a glyph for the character, or needs none for it."""
        place = bisect_right(self.starts, ord(character)) - 1
        return _needs_no_glyph(character) or (place >= 0 and ord(character) <= self.ends[place])


@dataclass(frozen=True)
class Fonts:
    """The main family of a drawing, and the fonts that complete it, best first."""

    main: str
    faces: tuple[Face, ...]

    def runs(self, text: str) -> list[tuple[str, str]]:
        """Cut a text into (family, part), each part whole graphemes that one family draws.

        A text of letters that combine is one part if any font has all of it: resvg shapes the
        whole text with every font, and loses its place where they form clusters differently.
        """
        family = self._family(text) if _combines(text) else None
        if family is not None:
            return [(family, text)]
        pairs = [(self._family(grapheme) or self.main, grapheme) for grapheme in graphemes(text)]
        return [
            (family, "".join(grapheme for _, grapheme in run))
            for family, run in groupby(pairs, key=lambda pair: pair[0])
        ]

    def missing(self, text: str) -> list[str]:
        """Return the characters that no font has, in order."""
        return [c for c in dict.fromkeys(text) if not any(face.draws(c) for face in self.faces)]

    def files(self, texts: Iterable[str]) -> list[str]:
        """Return the font files that the texts need, with the main family's bold."""
        families = {self.main, *(family for text in texts for family, _ in self.runs(text))}
        regular = {face.file: None for face in self.faces if face.family in families}
        bold = {face.file: None for face in installed() if face.family == self.main}
        return list(bold | regular)

    def _family(self, text: str) -> str | None:
        """Return the best family that has every character of the text."""
        whole = (face.family for face in self.faces if all(map(face.draws, text)))
        return next(whole, None)


def fonts(text: str, preferred: Sequence[str]) -> Fonts | None:
    """Return the fonts to draw a text with, or None where fontconfig cannot tell.

    The main family is the preferred one that has most of the text's symbols, so that `▁the` is
    not drawn in another font than `the`. Fonts without Latin letters come next, since resvg takes
    a whole label from a fallback that can draw all of it. Han characters, which share their code
    points but not their shapes, are Japanese beside kana and Chinese otherwise.
    """
    regular = {face.family: face for face in reversed(installed()) if face.weight == _REGULAR}
    if not regular:
        return None
    symbols = [c for c in set(text) if unicodedata.category(c)[0] in "PS"]
    present = [regular[name] for name in preferred if name in regular] or list(regular.values())
    main = max(present, key=lambda face: sum(map(face.draws, symbols)))
    han = "JP" if any("\u3040" <= character <= "\u30ff" for character in text) else "SC"

    def place(face: Face) -> tuple[bool, bool, bool, int]:
        han_of_text = face.family == f"Noto Sans CJK {han}"
        return (face is not main, face.draws("a"), not han_of_text, installed().index(face))

    return Fonts(main.family, tuple(sorted(regular.values(), key=place)))


@lru_cache(maxsize=1)
def installed() -> tuple[Face, ...]:
    """Return the upright fonts, regular and bold, best first; none if fontconfig is not there."""
    program = shutil.which("fc-list")
    if program is None:
        return ()
    answer = subprocess.run([program, "-f", _FORMAT], capture_output=True, text=True, check=False)
    faces = (_face(line.split("|")) for line in answer.stdout.splitlines() if line.count("|") == 6)
    return tuple(sorted((face for face in faces if face), key=_rank))


def _face(fields: list[str]) -> Face | None:
    file, family, weight, slant, width, colour, charset = fields
    upright = slant == "0" and width == _NORMAL_WIDTH and weight in {_REGULAR, _BOLD}
    if not upright or not file.lower().endswith((".ttf", ".otf", ".ttc", ".otc")):
        return None
    ranges = [part.partition("-") for part in charset.split()]
    starts = tuple(int(start, 16) for start, _, _ in ranges)
    ends = tuple(int(end or start, 16) for start, _, end in ranges)
    return Face(file, family, weight, colour == "True", starts, ends)


def _rank(face: Face) -> tuple[bool, bool, bool, str]:
    """Order by looks beside a sans-serif: Noto Sans, colour emoji, other sans, the rest."""
    noto, sans = face.family.startswith("Noto Sans"), "Sans" in face.family
    return (not noto, not face.colour, not sans, face.family)


def _needs_no_glyph(character: str) -> bool:
    """Say whether fonts leave the character blank: controls, joiners, isolates, selectors."""
    selector = "VARIATION SELECTOR" in unicodedata.name(character, "")
    return selector or unicodedata.category(character) in {"Cc", "Cf"}


def _combines(text: str) -> bool:
    """Say whether letters change shape or merge: marks, joined emoji, Arabic."""
    bidirectional = unicodedata.bidirectional
    return len(graphemes(text)) < len(text) or any(bidirectional(c) == "AL" for c in text)
