"""Pairs as ids, encoded once and kept in flat arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qkv.data.links import LinkedWords
from qkv.data.pairs import Pair
from qkv.data.ragged import Ragged
from qkv.text.letters import spell
from qkv.text.side import Side


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Encoded pairs, without BOS and EOS.

    `kept[i]` is the index, among the pairs given, that example i came from; `left_out` are the
    indices of the pairs that were too long. `linked` are the word links of the examples, if
    attention is to learn them; `spelled` the letters of the sources' words, WIDTH numbers each, if
    the model reads them.
    """

    source: Ragged
    target: Ragged
    kept: NDArray[np.int64]
    left_out: NDArray[np.int64]
    max_length: int
    linked: LinkedWords | None = None
    spelled: Ragged | None = None

    @classmethod
    def of(cls, sources: Iterable[Sequence[int]], targets: Iterable[Sequence[int]]) -> Examples:
        """Hold ids that are encoded already, without BOS and EOS; none is left out."""
        source, target = Ragged.of(sources), Ragged.of(targets)
        assert len(source) == len(target)
        return cls(source, target, np.arange(len(source)), np.arange(0), 0)

    def __len__(self) -> int:
        return len(self.source)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """[examples, 2]: tokens of source and target, EOS counted; what BatchPlan wants."""
        return np.stack([self.source.lengths, self.target.lengths], axis=1) + 1

    def __str__(self) -> str:
        text = f"{len(self)} examples"
        if len(self.left_out):
            text += (
                f"; {len(self.left_out)} left out, longer than {self.max_length} tokens "
                "(data.max_length)"
            )
        return text


def encode_pairs(
    pairs: Sequence[Pair],
    source: Side,
    target: Side,
    max_length: int = 0,
    *,
    linked: bool = False,
    spelled: bool = False,
) -> Examples:
    """Encode both sides of each pair; leave out pairs with a side longer than max_length tokens.

    max_length counts tokens without EOS; 0 keeps every pair. What is left out is counted in the
    result, which prints it. linked: keep the pairs' word links too. spelled: and the letters of
    the sources' words.

    Raises:
        ValueError: no pair is left.
    """
    sources = Ragged.of(source.ids(pair.source) for pair in pairs)
    targets = Ragged.of(target.ids(pair.target) for pair in pairs)
    longest = np.maximum(sources.lengths, targets.lengths)
    fits = longest <= max_length if max_length else np.ones(len(pairs), dtype=bool)
    if not fits.any():
        raise ValueError(
            f"none of the {len(pairs)} pairs is within data.max_length = {max_length} tokens"
            + (f" (the shortest has {longest.min()}); raise it" if len(pairs) else "")
        )
    kept, left_out = np.flatnonzero(fits), np.flatnonzero(~fits)
    if len(left_out):
        sources, targets = sources.select(kept), targets.select(kept)
    words = LinkedWords.of([pairs[i] for i in kept.tolist()], source, target) if linked else None
    letters = None
    if spelled:
        texts = [pairs[i].source for i in kept.tolist()]
        letters = Ragged.of(spell(source.pieces(text)).ravel() for text in texts)
    return Examples(sources, targets, kept, left_out, max_length, words, letters)
