"""A token and the piece of the user's text that it came from."""

from __future__ import annotations

import unicodedata
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

_UNSEEN = ("Cc", "Zs", "Zl", "Zp")  # not Cf: inside a piece it joins emoji and letters


@dataclass(frozen=True, slots=True)
class Token:
    """One unit of a text.

    `text` is the symbol that the vocabulary looks up (perhaps lower-cased; subwords write a space
    as ▁); original[start:end] is the user's own text that it stands for. The span is empty only
    for the word-start mark that a subword tokeniser puts before the first word.
    """

    text: str
    start: int
    end: int


def words_of(text: str) -> list[Token]:
    """Return the whitespace-separated words of a text, with their spans."""
    words, position = [], 0
    for word in text.split():
        start = text.index(word, position)
        position = start + len(word)
        words.append(Token(word, start, position))
    return words


def visible(text: str) -> str:
    """Return a text in which everything can be seen, for labels.

    A space shows as ␣, other white space and control characters as their numbers, an accent
    without a letter on ◌, and a text of nothing but invisible characters as their numbers.
    """
    if text and all(unicodedata.category(character)[0] in "ZC" for character in text):
        return "".join(map(_name, text))
    shown = [
        _name(character) if unicodedata.category(character) in _UNSEEN else character
        for character in text
    ]
    return ("◌" if text and unicodedata.combining(text[0]) else "") + "".join(shown)


def _name(character: str) -> str:
    return "␣" if character == " " else f"U+{ord(character):04X}"


def assign(tokens: Sequence[Token], words: Sequence[Token]) -> list[int]:
    """Return, for each token, the index of the word that it is part of.

    A token that touches several words goes to the one it shares most characters with; one that
    touches none (a space, a word-start mark) goes to the next word, or to the last. So every token
    has a word, and what is summed over a word's tokens loses nothing.

    Raises:
        ValueError: there are no words to assign to.
    """
    if not words:
        raise ValueError("a text without words: tokens cannot be assigned to words")
    ends = [word.end for word in words]
    return [_owner(token, words, ends) for token in tokens]


def _owner(token: Token, words: Sequence[Token], ends: list[int]) -> int:
    # The first word that ends after the token's start: it overlaps the token, or follows it.
    best = min(bisect_left(ends, token.start + 1), len(words) - 1)
    most = _shared(token, words[best])
    for i in range(best + 1, len(words)):
        if words[i].start >= token.end:
            break
        if _shared(token, words[i]) > most:
            best, most = i, _shared(token, words[i])
    return best


def _shared(a: Token, b: Token) -> int:
    return max(0, min(a.end, b.end) - max(a.start, b.start))
