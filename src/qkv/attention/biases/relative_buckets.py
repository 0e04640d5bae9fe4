"""Relative position buckets (Raffel et al. 2020, section 2.1): a learned number for how far.

    b_hij = B[bucket(j - i), h]

Near distances have a bucket each; farther ones share buckets that grow as the logarithm, up to
max_distance; all beyond share the last. Half of the buckets are for keys after the query.
Differs from the paper: not at all; T5 adds it to an energy that is not scaled (`Dot`).
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


class RelativeBuckets(PositionBias):
    """A learned number for each bucket and head.

    Parameters: table [buckets, heads]. It starts at 0: positions do not count yet.
    Cost: two look-ups a pair; the bias is written out, [heads, T, S], or for the tiles alone.

    bidirectional=False gives all buckets to keys before the query, as in T5's decoder; keys after
    it are then in the bucket of distance 0.
    """

    nearness: Tensor

    def __init__(
        self,
        heads: int,
        buckets: int = 32,
        max_distance: int = 128,
        *,
        bidirectional: bool = True,
    ) -> None:
        super().__init__(heads)
        side = buckets // 2 if bidirectional else buckets
        if side < 2 or (bidirectional and buckets % 2) or max_distance <= side // 2:
            raise ValueError(
                "RelativeBuckets wants 2 buckets a side or more (an even number for two sides) "
                f"and a max_distance beyond the {side // 2} that have one each, got "
                f"buckets={buckets}, max_distance={max_distance}"
            )
        self.side, self.bidirectional = side, bidirectional
        self.table = nn.Parameter(torch.zeros(buckets, heads))
        near = torch.tensor([_bucket(n, side, max_distance) for n in range(max_distance + 1)])
        self.register_buffer("nearness", near, persistent=False)

    def of_distance(self, distance: Int[Tensor, "*pairs"]) -> Float[Tensor, "heads ..."]:
        """Look up each pair's bucket."""
        far = distance.abs() if self.bidirectional else (-distance).clamp(min=0)
        bucket = self.nearness[far.clamp(max=len(self.nearness) - 1)]
        if self.bidirectional:
            bucket = bucket + self.side * (distance > 0)
        return self.table[bucket].movedim(-1, 0)

    def of_heads(self, kept: Int[Tensor, " kept"]) -> Self:
        """Return a copy with these heads' columns of the table."""
        copied = copy.deepcopy(self)
        copied.heads = len(kept)
        copied.table = cast("nn.Parameter", keep_heads(self.table, kept, 1))
        return copied


def _bucket(distance: int, side: int, max_distance: int) -> int:
    """One each for the first half; then half + floor(log(n / half) / log(max / half) * rest).

    Compared as whole numbers: a logarithm that is rounded puts the borders to one side or other.
    """
    half = side // 2
    rest = side - half
    if distance < half:
        return distance
    steps = 0
    while steps < rest - 1 and (
        max_distance ** (steps + 1) * half**rest <= distance**rest * half ** (steps + 1)
    ):
        steps += 1
    return half + steps
