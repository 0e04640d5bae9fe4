"""Pairs as ids, encoded once and kept in flat arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qkv.data.pairs import Pair
from qkv.text.side import Side


@dataclass(frozen=True, slots=True, eq=False)
class Ragged:
    """Sequences of ids in one array: sequence i is flat[offsets[i] : offsets[i + 1]]."""

    flat: NDArray[np.int32]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, sequences: Iterable[Sequence[int] | NDArray[np.int32]]) -> Ragged:
        """Copy sequences into one array."""
        arrays = [np.asarray(sequence, dtype=np.int32) for sequence in sequences]
        ends = np.cumsum([0, *(len(array) for array in arrays)], dtype=np.int64)
        return cls(np.concatenate([np.empty(0, np.int32), *arrays]), ends)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, i: int) -> NDArray[np.int32]:
        return self.flat[self.offsets[i] : self.offsets[i + 1]]

    def select(self, indices: NDArray[np.int64]) -> Ragged:
        """Return these sequences, in this order."""
        return Ragged.of(self[i] for i in indices.tolist())

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The number of ids in each sequence."""
        return np.diff(self.offsets)


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Encoded pairs, without BOS and EOS.

    `kept[i]` is the index, among the pairs given, that example i came from; `left_out` are the
    indices of the pairs that were too long.
    """

    source: Ragged
    target: Ragged
    kept: NDArray[np.int64]
    left_out: NDArray[np.int64]
    max_length: int

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
    pairs: Sequence[Pair], source: Side, target: Side, max_length: int = 0
) -> Examples:
    """Encode both sides of each pair; leave out pairs with a side longer than max_length tokens.

    max_length counts tokens without EOS; 0 keeps every pair. What is left out is counted in the
    result, which prints it.

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
    return Examples(sources, targets, kept, left_out, max_length)
