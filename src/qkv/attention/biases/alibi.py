"""ALiBi (Press, Smith and Lewis 2022, section 3): the farther a key, the less it counts.

    b_hij = -m_h |i - j|,   m_h = 2^(-8 h / heads),   h = 1 ... heads

Where heads is no power of 2, the slopes are those of the next lower power, and then every second
one of the next higher (as in the authors' code).
Parameters: none.
Cost: a multiply-add a pair; the bias is written out, [heads, T, S], or for the tiles alone.
Differs from the paper: keys after the query too, as far as those before; the paper's queries see
none (`Mask.causal`).
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Self

import torch

from qkv.attention.biases.position_bias import PositionBias
from qkv.attention.heads import keep_heads

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


class ALiBi(PositionBias):
    """A slope a head; nothing is learned."""

    slopes: Tensor

    def __init__(self, heads: int) -> None:
        super().__init__(heads)
        self.register_buffer("slopes", torch.tensor(_slopes(heads)), persistent=False)

    def of_distance(self, distance: Int[Tensor, "*pairs"]) -> Float[Tensor, "heads ..."]:
        """Return -m_h |distance|."""
        return -self.slopes.reshape(-1, *(1,) * distance.dim()) * distance.abs()

    def of_heads(self, kept: Int[Tensor, " kept"]) -> Self:
        """Return a copy with these heads' slopes, which are saved, since no formula gives them."""
        copied = copy.deepcopy(self)
        copied.heads = len(kept)
        copied.register_buffer("slopes", keep_heads(self.slopes, kept, 0), persistent=True)
        return copied


def _slopes(heads: int) -> list[float]:
    power = 1 << (heads.bit_length() - 1)
    first = [2 ** (-8 * h / power) for h in range(1, power + 1)]
    between = [2 ** (-8 * h / (2 * power)) for h in range(1, 2 * power, 2)]
    return (first + between)[:heads]
