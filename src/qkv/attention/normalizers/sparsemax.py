"""Sparsemax (Martins and Astudillo 2016, eq. 2 and algorithm 1).

    alpha_i = argmin_p |p - e_i|^2 over all p >= 0 that sum to 1 = max(e_i - tau_i, 0)

Parameters: none.
Cost: each row is sorted, S log(S); T*S weights are kept.
Differs from the paper: not at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from qkv.attention.normalizers.implicit import differentiable
from qkv.attention.normalizers.normalizer import Normalized, Normalizer

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
        return Normalized(differentiable(energies, energies.new_tensor(2.0), _project(energies)))


@torch.no_grad()
def _project(energies: Tensor) -> Tensor:
    """Sort; the support is the longest head of the list whose mean excess fits (eq. 4)."""
    shifted = energies - energies.amax(-1, keepdim=True)
    ordered = shifted.sort(dim=-1, descending=True).values
    total = ordered.cumsum(-1) - 1
    rank = torch.arange(1, ordered.shape[-1] + 1, device=energies.device, dtype=energies.dtype)
    support = (rank * ordered > total).sum(-1, keepdim=True).clamp(min=1)  # 0 where all is NaN
    threshold = total.gather(-1, support - 1) / support
    return (shifted - threshold).clamp(min=0)
