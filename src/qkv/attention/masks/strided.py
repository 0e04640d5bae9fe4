"""Strided attention (Child et al. 2019, section 4.3): every step-th key from the query.

    (j - i) mod step = 0

Cost: all pairs, of which it keeps one in `step`: neighbouring queries share no key.
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
class Strided(Pattern):
    """Query i may meet key j when step divides j - i. Build it with Mask.strided.

    Differs from the paper: keys after the query too; `& Mask.causal()` takes them away.
    """

    step: int

    def __post_init__(self) -> None:
        positive("strided", "step", self.step)

    def rule(
        self, query: Int[Tensor, "*any T 1"], key: Int[Tensor, "*any S"], keys: int
    ) -> Bool[Tensor, "*any T S"]:
        """Every step-th diagonal."""
        return (key - query) % self.step == 0

    def reach(self, blocks: Blocks) -> Reach | None:
        """The keys that stand where one of the block's queries stands, each `step` apart."""
        if blocks.size >= self.step:
            return None
        rows = torch.arange(blocks.size, device=blocks.device)
        along = torch.arange(0, blocks.keys, self.step, device=blocks.device)
        places = (blocks.first + rows) % self.step
        return blocks.reach((places.unsqueeze(-1) + along).flatten(1))

    def forbids_nothing(self, queries: int, keys: int) -> bool:
        """Whether there are no gaps, or nothing to fall into one."""
        return self.step == 1 or max(queries, keys) == 1

    def __repr__(self) -> str:
        return f"Mask.strided({self.step})"
