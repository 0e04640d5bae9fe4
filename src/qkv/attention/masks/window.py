"""A sliding window (Beltagy, Peters and Cohan 2020, section 3.1): each query sees what is near.

    -left <= j - i <= right

Cost: only the tiles of queries and keys that may meet are computed: T*(left + right + 1)
pairs and the rest of their tiles.
Differs from the paper: the two sides have a width each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from qkv.attention.masks.band import Band
from qkv.attention.masks.pattern import Pattern

if TYPE_CHECKING:
    from jaxtyping import Bool, Int
    from torch import Tensor

    from qkv.attention.masks.reach import Blocks, Reach


@dataclass(frozen=True)
class Window(Pattern):
    """Query i may meet key j when -left <= j - i <= right. Build it with Mask.window.

    With a cache of `offset` earlier keys, query i stands at i + offset:
    Mask.window(left - offset, right + offset).
    """

    left: int
    right: int

    def __post_init__(self) -> None:
        for name, side in (("left", self.left), ("right", self.right)):
            if isinstance(side, bool) or not isinstance(side, int):
                raise ValueError(f"Mask.window: {name} is a whole number, got {side!r}")
        if self.left + self.right < 0:
            raise ValueError(
                f"Mask.window({self.left}, {self.right}) lets nothing meet: "
                "-left <= j - i <= right needs left + right >= 0"
            )

    def rule(
        self, query: Int[Tensor, "*any T 1"], key: Int[Tensor, "*any S"], keys: int
    ) -> Bool[Tensor, "*any T S"]:
        """A band along the diagonal."""
        apart = key - query
        return (apart >= -self.left) & (apart <= self.right)

    def reach(self, blocks: Blocks) -> Reach | None:
        """A band as high as a block."""
        across = torch.arange(-self.left, blocks.size + self.right, device=blocks.device)
        return blocks.reach(blocks.first + across) if len(across) < blocks.keys else None

    def reachable(self, keys: int, device: torch.device | None = None) -> Bool[Tensor, " keys"]:
        """Every key, but for the first ones when the window begins after the query."""
        return torch.arange(keys, device=device) + self.left >= 0

    def forbids_nothing(self, queries: int, keys: int) -> bool:
        """Whether the last query sees the first key, and the first the last."""
        return self.left >= queries - 1 and self.right >= keys - 1

    def triangular(self, queries: int, keys: int) -> bool:
        """Whether it reaches back to the first key, and not ahead."""
        return self.right == 0 and self.left >= queries - 1 and queries == keys

    def band(self, queries: int, keys: int) -> Band | None:
        """Itself."""
        return Band(self.left, self.right, (keys,))

    def __repr__(self) -> str:
        return f"Mask.window({self.left}, {self.right})"
