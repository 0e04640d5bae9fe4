"""A dilated window (Beltagy, Peters and Cohan 2020, section 3.1): a window with gaps.

    j = i + m step,   -width <= m <= width

Cost: only the tiles of queries and keys that may meet are computed: T*(2 width + 1)
pairs and the rest of their tiles.
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
class Dilated(Pattern):
    """Query i may meet key j = i + m * step, -width <= m <= width. Build it with Mask.dilated.

    Differs from the paper: `width` counts the keys of one side, not of both.
    """

    width: int
    step: int

    def __post_init__(self) -> None:
        positive("dilated", "width", self.width)
        positive("dilated", "step", self.step)

    def rule(
        self, query: Int[Tensor, "*any T 1"], key: Int[Tensor, "*any S"], keys: int
    ) -> Bool[Tensor, "*any T S"]:
        """Every step-th diagonal near the middle one."""
        apart = key - query
        return (apart.abs() <= self.width * self.step) & (apart % self.step == 0)

    def reach(self, blocks: Blocks) -> Reach | None:
        """The diagonals of a block, each as wide as it is high."""
        middle = torch.arange(-self.width, self.width + 1, device=blocks.device) * self.step
        rows = torch.arange(blocks.size, device=blocks.device)
        across = (middle.unsqueeze(-1) + rows).unique()
        return blocks.reach(blocks.first + across) if len(across) < blocks.keys else None

    def forbids_nothing(self, queries: int, keys: int) -> bool:
        """Whether nothing is too far, and nothing falls in a gap."""
        farthest = max(queries, keys) - 1
        return farthest == 0 or (self.step == 1 and farthest <= self.width)

    def __repr__(self) -> str:
        return f"Mask.dilated({self.width}, {self.step})"
