"""Blocks (Child et al. 2019, section 4.3, the first part of "fixed"): each block sees itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from qkv.attention.masks.pattern import Pattern, positive

if TYPE_CHECKING:
    from jaxtyping import Bool
    from torch import Tensor


@dataclass(frozen=True)
class Block(Pattern):
    """Query i may meet key j when i // size == j // size. Build it with Mask.block.

    The last block is as long as what is left: `size` need not divide any length.
    """

    length: int

    def __post_init__(self) -> None:
        positive("block", "size", self.length)

    def tensor(
        self, queries: int, keys: int, device: torch.device | None = None
    ) -> Bool[Tensor, "T S"]:
        """Squares along the diagonal."""
        query, key = (torch.arange(n, device=device) // self.length for n in (queries, keys))
        return query.unsqueeze(-1) == key

    def forbids_nothing(self, queries: int, keys: int) -> bool:
        """Whether all are in the first block."""
        return max(queries, keys) <= self.length

    def __repr__(self) -> str:
        return f"Mask.block({self.length})"
