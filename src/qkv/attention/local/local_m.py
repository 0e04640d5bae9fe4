"""Monotonic local attention, local-m (Luong, Pham and Manning 2015, section 3.2).

    p_t = t:   a_t = align(h_t, h_s) over the keys s in [t - D, t + D]          (eq. 7)

Positions count from 0 here.
Parameters: none.
Cost: T*(2 D + 1) pairs, however many keys there are.
Differs from the paper: not at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import torch

from qkv.attention.local.local import Local, Placement
from qkv.attention.masks.mask import Mask

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from qkv.attention.local.local import Extent


class LocalM(Local):
    """Source and target go side by side; no parameters."""

    @classmethod
    def sized(cls, query_dim: int, window: int) -> Self:
        """Build one; any width."""
        return cls(window)

    def forward(
        self,
        query: Float[Tensor, "*batch queries query_dim"],
        positions: Int[Tensor, " queries"],
        visible: Extent,
    ) -> Placement:
        """A window around each query's own position."""
        return Placement(self.around(positions), None)

    def around(self, positions: Int[Tensor, " queries"]) -> Mask:
        """Return the windows of queries at these positions."""
        return Mask.around(positions.to(torch.float32), self.window)
