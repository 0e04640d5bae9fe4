"""The causal mask (Vaswani et al. 2017, section 3.2.3): no query sees what comes after it.

    j <= i + offset

Cost: all pairs, of which it keeps half.
Differs from the paper: the offset, for queries that come after a cache of keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qkv.attention.masks.band import Band
from qkv.attention.masks.pattern import Pattern

if TYPE_CHECKING:
    from jaxtyping import Bool, Int
    from torch import Tensor


@dataclass(frozen=True)
class Causal(Pattern):
    """Query i may meet key j when j <= i + offset. Build it with Mask.causal."""

    offset: int = 0

    def rule(
        self, query: Int[Tensor, "*any T 1"], key: Int[Tensor, "*any S"], keys: int
    ) -> Bool[Tensor, "*any T S"]:
        """A lower triangle, shifted by the offset."""
        return key <= query + self.offset

    def forbids_nothing(self, queries: int, keys: int) -> bool:
        """Whether the first query already sees the last key."""
        return self.offset >= keys - 1

    def triangular(self, queries: int, keys: int) -> bool:
        """Whether the diagonal is that of a square."""
        return self.offset == 0 and queries == keys

    def band(self, queries: int, keys: int) -> Band | None:
        """All that is not ahead."""
        return Band(queries - 1, self.offset, (keys,)) if queries + self.offset > 0 else None

    def __repr__(self) -> str:
        return f"Mask.causal({self.offset})" if self.offset else "Mask.causal()"
