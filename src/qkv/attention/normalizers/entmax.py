"""Entmax (Peters, Niculae and Martins 2019, eq. 7 and algorithm 1).

    p_j = max((alpha - 1) e_j - tau, 0)^(1 / (alpha - 1)),   tau such that p sums to 1

alpha -> 1 is softmax, alpha = 2 is sparsemax.
Parameters: none; alpha is given.
Cost: a power a pair in each of some eight passes (alpha > 2: 25 in float32); T*S weights are kept.
Differs from the paper: tau by Newton's method for every alpha up to 2, by bisection above.
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Self, cast

import torch

from qkv.attention.heads import keep_heads
from qkv.attention.normalizers.implicit import differentiable
from qkv.attention.normalizers.normalizer import Normalized, Normalizer
from qkv.attention.normalizers.threshold import above_threshold

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


class Entmax(Normalizer):
    """Weak keys get a weight of exactly 0, the more of them the larger alpha; rows sum to 1."""

    name = "entmax"

    def __init__(self, alpha: float = 1.5) -> None:
        super().__init__()
        if not 1 < alpha < math.inf:
            raise ValueError(
                f"entmax's alpha is a finite number above 1, got {alpha}; 1 itself is softmax"
            )
        self.alpha = alpha

    @classmethod
    def sized(cls, heads: int, alpha: float | None, temperature: float) -> Self:
        """Build one with this alpha, 1.5 without one."""
        return cls() if alpha is None else cls(alpha)

    def forward(
        self, energies: Float[Tensor, "*batch queries keys"], *, stats: bool
    ) -> Normalized:
        """Return the weights."""
        alpha = energies.new_tensor(self.alpha)
        return Normalized(entmax(energies, alpha))


class LearnedEntmax(Normalizer):
    """Entmax whose alpha is learned, for each head (Correia, Niculae and Martins 2019, eq. 9).

        alpha_h = 1 + sigmoid(a_h), between softmax and sparsemax

    Parameters: raw a [heads, 1, 1]. It starts at alpha = 1.5. heads=1 shares one alpha.
    Cost: as entmax.
    Differs from the paper: not at all.
    """

    name = "learned_entmax"
    has_parameters = True

    def __init__(self, heads: int = 1) -> None:
        super().__init__()
        if heads < 1:
            raise ValueError(f"heads is 1 or more, got {heads}")
        self.raw = torch.nn.Parameter(torch.zeros(heads, 1, 1))

    @classmethod
    def sized(cls, heads: int, alpha: float | None, temperature: float) -> Self:
        """Build one for so many heads."""
        return cls(heads)

    @property
    def alpha(self) -> Float[Tensor, "heads 1 1"]:
        """The alphas as they are now."""
        return 1 + self.raw.sigmoid()

    def forward(
        self, energies: Float[Tensor, "*batch queries keys"], *, stats: bool
    ) -> Normalized:
        """Return the weights.

        Raises:
            ValueError: the energies have another number of heads.
        """
        alpha = self.alpha.to(energies.dtype)
        heads = alpha.shape[0]
        if heads == 1:
            alpha = alpha.reshape(())
        elif energies.dim() < 3 or energies.shape[-3] != heads:
            raise ValueError(
                f"LearnedEntmax(heads={heads}) wants energies [..., {heads} heads, queries, "
                f"keys], got {list(energies.shape)}"
            )
        return Normalized(entmax(energies, alpha))

    def of_heads(self, kept: Int[Tensor, " kept"]) -> Self:
        """Return a copy with these heads' alphas; the one that all share stays."""
        copied = copy.deepcopy(self)
        if self.raw.shape[0] > 1:
            copied.raw = cast("torch.nn.Parameter", keep_heads(self.raw, kept, 0))
        return copied


def entmax(
    energies: Float[Tensor, "*batch queries keys"], alpha: Tensor
) -> Float[Tensor, "*batch queries keys"]:
    """Return alpha-entmax of each row, differentiable in both."""
    return differentiable(energies, alpha, above_threshold(energies, alpha))
