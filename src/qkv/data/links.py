"""Word links of sentence pairs: how they are written, and the attention that they ask for."""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qkv.data.pairs import Pair
from qkv.data.ragged import Ragged
from qkv.text.side import Encoded, Side
from qkv.text.tokens import assign, words_of

Links = Set[tuple[int, int]]
"""Pairs (place of the source word, place of the target word), from 0."""

_LINK = re.compile(r"([0-9]+)([-?pP])([0-9]+)")


def read_links(text: str, where: str) -> tuple[frozenset[tuple[int, int]], ...]:
    """Return the sure links and all links of `0-0 1?2`: i-j is sure; i?j, ipj, iPj are possible.

    Raises:
        ValueError: a word is no link; the message begins with `where`.
    """
    marked = [_link(word, where) for word in text.split()]
    sure = frozenset((i, j) for i, mark, j in marked if mark == "-")
    return sure, frozenset((i, j) for i, _, j in marked)


def check_links(links: Links, source: str, target: str, where: str) -> None:
    """Refuse a link to a word that is not there.

    Raises:
        ValueError: there is one; the message begins with `where`.
    """
    sizes = (len(source.split()), len(target.split()))
    for i, j in sorted(links):
        if i >= sizes[0] or j >= sizes[1]:
            raise ValueError(
                f"{where}: the link of words {i} and {j}, but there are {sizes[0]} source and "
                f"{sizes[1]} target words, counted from 0"
            )


def _link(word: str, where: str) -> tuple[int, str, int]:
    found = _LINK.fullmatch(word)
    if found is None:
        raise ValueError(
            f"{where}: {word!r} is no link; write i-j for a sure one and i?j, ipj or iPj "
            "for a possible one, counted from 0"
        )
    return int(found[1]), found[2], int(found[3])


@dataclass(frozen=True, slots=True, eq=False)
class LinkedWords:
    """The word links of encoded pairs, and which word each of their tokens is part of.

    links: of pair i as target word, source word, target word, source word, ...
    source, target: the word of each token.
    """

    links: Ragged
    source: Ragged
    target: Ragged

    @classmethod
    def of(cls, pairs: Sequence[Pair], source: Side, target: Side) -> LinkedWords:
        """Cut the texts of pairs that have links."""
        links = []
        for pair in pairs:
            assert pair.links is not None, "a pair without links"
            links.append([word for i, j in sorted(pair.links) for word in (j, i)])
        return cls(
            Ragged.of(links),
            Ragged.of(_words(source.encode(pair.source)) for pair in pairs),
            Ragged.of(_words(target.encode(pair.target)) for pair in pairs),
        )

    def wanted(self, i: int) -> NDArray[np.float32]:
        """Return the attention that the links of pair i ask for, [target tokens, source tokens].

            g_ij = 1 / (links of i's word * tokens of j's word),   0 where the words have no link

        So a target word's mass of 1 is shared evenly by the source words that it is linked to, and
        that of a source word by its tokens; tokens of one target word ask for the same. A row
        sums to 1, or to 0 if its word has no link. A link to a word without tokens is left out.
        """
        source, target = self.source[i], self.target[i]
        of_target, of_source = self.links[i].reshape(-1, 2).T
        rows = max(*target, *of_target, -1) + 1
        tokens = np.bincount(source, minlength=max(of_source, default=-1) + 1)
        words = np.zeros((rows, len(tokens)), np.float32)
        words[of_target, of_source] = tokens[of_source] > 0
        words /= words.sum(1, keepdims=True).clip(min=1) * tokens.clip(min=1)
        return words[target][:, source]


def _words(encoded: Encoded) -> list[int]:
    return assign(encoded.tokens, words_of(encoded.text))
