"""Sparsemax (Martins and Astudillo 2016, eq. 2 and algorithm 1).

    alpha_i = argmin_p |p - e_i|^2 over all p >= 0 that sum to 1 = max(e_i - tau_i, 0)

Parameters: none.
Cost: some five passes over a row, nothing is sorted; T*S weights are kept.
Differs from the paper: the threshold is found by Newton's method, not by sorting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qkv.attention.normalizers.implicit import differentiable
from qkv.attention.normalizers.normalizer import Normalized, Normalizer
from qkv.attention.normalizers.threshold import above_threshold

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class Sparsemax(Normalizer):
    """Weak keys get a weight of exactly 0; rows sum to 1. There is no log-normaliser."""

    name = "sparsemax"

    def forward(
        self, energies: Float[Tensor, "*batch queries keys"], *, stats: bool
    ) -> Normalized:
        """Return the weights."""
        alpha = energies.new_tensor(2.0)
        return Normalized(differentiable(energies, alpha, above_threshold(energies, alpha)))
