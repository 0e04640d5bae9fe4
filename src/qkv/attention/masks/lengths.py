"""Padding as lengths, the usual mask of a batch of sentences (no paper).

    j < n_b   for batch item b

Cost: all pairs; one row of the mask a batch item.
Differs from the paper: there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from qkv.attention.masks.band import Band
from qkv.attention.masks.mask import Mask, align
from qkv.attention.masks.runs import Runs
from qkv.attention.recorded import recorded

if TYPE_CHECKING:
    from jaxtyping import Bool, Int

    from qkv.attention.masks.pairs import Pairs


@dataclass(frozen=True, eq=False)
class Lengths(Mask):
    """Key j of batch item b may be met when j < n[b]. Build it with Mask.lengths."""

    n: Int[Tensor, " batch"]

    @staticmethod
    def of(n: Int[Tensor, " batch"]) -> Lengths:
        """Check the lengths and make the mask.

        Raises:
            ValueError: not a 1-D tensor of integers, or a negative length.
        """
        tensor = isinstance(n, Tensor)
        if not tensor or n.dim() != 1 or n.is_floating_point() or n.dtype == torch.bool:
            kind = f"{n.dtype} {list(n.shape)}" if tensor else type(n).__name__
            raise ValueError(
                f"Mask.lengths takes one integer a batch item, a tensor [batch], got {kind}; "
                "a boolean padding mask is Mask.keep(t[:, None, :])"
            )
        lengths = Lengths(n)
        if not recorded() and lengths.ends[0] < 0:
            raise ValueError(f"lengths are 0 or more, got {n.tolist()}")
        return lengths

    @cached_property
    def ends(self) -> tuple[int, int]:
        """The shortest and the longest."""
        listed = self.n.tolist()
        return min(listed, default=0), max(listed, default=0)

    def forbids_nothing(self, queries: int, keys: int) -> bool:
        """Whether the shortest item has all keys."""
        return not recorded() and self.ends[0] >= keys

    def band(self, queries: int, keys: int) -> Band | None:
        """Everything before the end."""
        ends = tuple(min(n, keys) for n in self.n.tolist())
        return Band(queries - 1, keys - 1, ends) if ends else None

    def runs(self, queries: int, keys: int, leading: int, device: torch.device) -> Runs | None:
        """Everything before the end."""
        stop = align(self.n.to(device).clamp(max=keys).unsqueeze(-1), leading, core=1)
        return Runs(torch.zeros_like(stop), stop, keys, keys)

    @property
    def same_for_every_query(self) -> bool:
        """Yes: only the key's position counts."""
        return True

    def tensor(
        self, queries: int, keys: int, device: torch.device | None = None
    ) -> Bool[Tensor, "batch 1 S"]:
        """One row a batch item."""
        return self.reachable(keys, device).unsqueeze(-2)

    def pairs(self, pairs: Pairs) -> Bool[Tensor, "*tile rows columns"]:
        """Whether the key stands before the end."""
        return pairs.key < pairs.by_batch(self.n.to(pairs.key.device))

    def reachable(
        self, keys: int, device: torch.device | None = None
    ) -> Bool[Tensor, "batch keys"]:
        """The keys before the end."""
        n = self.n.to(device)
        return torch.arange(keys, device=n.device) < n.unsqueeze(-1)

    def select(self, rows: Int[Tensor, " chosen"]) -> Mask:
        """The lengths of these batch items."""
        return Lengths(self.n[rows.to(self.n.device)])

    def longer_than(self, keys: int) -> tuple[int, int] | None:
        """The first item that is."""
        if recorded() or self.ends[1] <= keys:
            return None
        over = (self.n > keys).nonzero()
        return (int(over[0]), int(self.n[over[0]])) if len(over) else None

    def size(self) -> tuple[int | None, int | None]:
        """Any number of queries; as many keys as the longest has."""
        return None, max(1, self.ends[1])

    def __repr__(self) -> str:
        return f"Mask.lengths({self.n.tolist()})"
