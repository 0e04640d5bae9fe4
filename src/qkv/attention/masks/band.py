"""A band of pairs along the diagonal: what a window is, alone or with causal masks and lengths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from jaxtyping import Bool
    from torch import Tensor


@dataclass(frozen=True)
class Band:
    """Exactly the pairs with -left <= j - i <= right and j < ends[b], for batch item b.

    ends: one for each batch item, or one for all.
    """

    left: int
    right: int
    ends: tuple[int, ...]

    @property
    def width(self) -> int:
        """Keys that a query in the middle meets."""
        return self.left + self.right + 1

    def meet(self, other: Band) -> Band | None:
        """Return the pairs that are in both; None where these are no band."""
        left, right = min(self.left, other.left), min(self.right, other.right)
        counts = {len(self.ends), len(other.ends)} - {1}
        if left + right < 0 or len(counts) > 1:
            return None
        size = max(len(self.ends), len(other.ends))
        ends = zip(_stretched(self.ends, size), _stretched(other.ends, size), strict=True)
        return Band(left, right, tuple(min(pair) for pair in ends))

    def living(self, queries: int, end: int) -> tuple[int, int]:
        """From which query, and up to which, there is a key, for an item with so many keys."""
        first = min(max(0, -self.right), queries)
        return first, max(first, min(queries, end + self.left) if end else first)

    def met(self, queries: int, end: int) -> tuple[int, int]:
        """From which key, and up to which, there is a query."""
        first = max(0, -self.left)
        return first, max(first, min(end, queries + self.right))

    def dead(self, queries: int, device: torch.device) -> Bool[Tensor, "batch 1 queries 1"] | None:
        """The queries that may meet nothing; None when there are none."""
        alive = _between([self.living(queries, end) for end in self.ends], queries, device)
        return None if alive is None else ~alive[:, None, :, None]

    def hidden(
        self, queries: int, keys: int, device: torch.device
    ) -> Bool[Tensor, "batch 1 keys"] | None:
        """The keys that no query may meet; None when there are none."""
        met = _between([self.met(queries, end) for end in self.ends], keys, device)
        return None if met is None else ~met[:, None]


def _between(
    bounds: list[tuple[int, int]], size: int, device: torch.device
) -> Bool[Tensor, "batch size"] | None:
    """Flags from the first bound up to the second, for each item; None where all are set."""
    if all(first == 0 and last >= size for first, last in bounds):
        return None
    every = torch.arange(size, device=device)
    first, last = torch.tensor(bounds, device=device).T.unsqueeze(-1)
    return (every >= first) & (every < last)


def _stretched(ends: tuple[int, ...], size: int) -> tuple[int, ...]:
    return ends * size if len(ends) == 1 else ends
