"""Learned relative positions, clipped (Shaw, Uszkoreit and Vaswani 2018, section 3.2).

    b_hij = B[clip(j - i, -k, k), h]

Differs from the paper: a learned number for each distance and head, added to the energy; there it
is a vector a_ij, added to the key (eq. 4), and one more, added to the value (eq. 3).
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Self, cast

import torch
from torch import nn

from qkv.attention.biases.position_bias import PositionBias
from qkv.attention.heads import keep_heads

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


class Relative(PositionBias):
    """A learned number for each distance up to k = max_distance, either way, and head.

    Parameters: table [2 max_distance + 1, heads], from -k to k; farther keys share the last. It
    starts at 0: positions do not count yet.
    Cost: a look-up a pair; the bias is written out, [heads, T, S], or for the tiles alone.

    Raises:
        ValueError: max_distance is below 1.
    """

    def __init__(self, heads: int, max_distance: int = 16) -> None:
        super().__init__(heads)
        if max_distance < 1:
            raise ValueError(f"Relative wants a max_distance of 1 or more, got {max_distance}")
        self.max_distance = max_distance
        self.table = nn.Parameter(torch.zeros(2 * max_distance + 1, heads))

    def of_distance(self, distance: Int[Tensor, "*pairs"]) -> Float[Tensor, "heads ..."]:
        """Look up each pair's distance."""
        place = distance.clamp(-self.max_distance, self.max_distance) + self.max_distance
        return self.table[place].movedim(-1, 0)

    def of_heads(self, kept: Int[Tensor, " kept"]) -> Self:
        """Return a copy with these heads' columns of the table."""
        copied = copy.deepcopy(self)
        copied.heads = len(kept)
        copied.table = cast("nn.Parameter", keep_heads(self.table, kept, 1))
        return copied
