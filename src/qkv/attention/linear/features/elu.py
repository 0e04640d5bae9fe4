"""elu(x) + 1 (Katharopoulos, Vyas, Pappas and Fleuret 2020, eq. 7).

    phi(x) = x + 1 where x > 0, exp(x) elsewhere

Parameters: none.
Cost: (T + S)*dim*value_dim multiply-adds; no [T, S] matrix.
Differs from the paper: not at all; exp(x) is written as such, since (exp(x) - 1) + 1 rounds to 0
far from the origin, and a row without any positive number is scaled by its largest feature.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import torch

from qkv.attention.linear.features.feature_map import FeatureMap, Mapped

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class Elu(FeatureMap):
    """As many features as dimensions; no parameters."""

    needs_dim = False

    @classmethod
    def sized(cls, dim: int) -> Self:
        """Build one; any width."""
        return cls()

    def width(self, dim: int) -> int:
        """One feature a dimension."""
        return dim

    def forward(self, x: Float[Tensor, "*batch time dim"]) -> Mapped:
        """Return elu(x) + 1."""
        top = x.detach().amax(-1, keepdim=True).clamp(max=0)
        return Mapped(torch.where(x > 0, x + 1, torch.exp(x.clamp(max=0) - top)), top)
