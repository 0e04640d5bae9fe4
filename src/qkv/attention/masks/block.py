"""Blocks (Child et al. 2019, section 4.3, the first part of "fixed"): each block sees itself.

    floor(i / size) = floor(j / size)

Cost: only the tiles of queries and keys that may meet are computed: T*size pairs.
Differs from the paper: keys after the query too; `& Mask.causal()` takes them away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from qkv.attention.masks.pattern import Pattern, positive

if TYPE_CHECKING:
    from jaxtyping import Bool, Int
    from torch import Tensor

    from qkv.attention.masks.reach import Blocks, Reach


@dataclass(frozen=True)
class Block(Pattern):
    """Query i may meet key j when i // size == j // size. Build it with Mask.block.

    The last block is as long as what is left: `size` need not divide any length.
    """

    length: int

    def __post_init__(self) -> None:
        positive("block", "size", self.length)

    def rule(
        self, query: Int[Tensor, "*any T 1"], key: Int[Tensor, "*any S"], keys: int
    ) -> Bool[Tensor, "*any T S"]:
        """Squares along the diagonal."""
        return query // self.length == key // self.length

    def reach(self, blocks: Blocks) -> Reach | None:
        """From the start of the first query's square to the end of the last one's."""
        begin = blocks.first // self.length * self.length
        end = ((blocks.first + blocks.size - 1) // self.length + 1) * self.length
        width = int((end - begin).amax())
        if width >= blocks.keys:
            return None
        across = begin + torch.arange(width, device=blocks.device)
        return blocks.reach(across.masked_fill(across >= end, -1))

    def forbids_nothing(self, queries: int, keys: int) -> bool:
        """Whether all are in the first block."""
        return max(queries, keys) <= self.length

    def __repr__(self) -> str:
        return f"Mask.block({self.length})"
