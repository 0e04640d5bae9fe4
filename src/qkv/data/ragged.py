"""Sequences of ids in flat arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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
