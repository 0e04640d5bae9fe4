"""Softmax (Bahdanau, Cho and Bengio 2015, eq. 6).

alpha_ij = exp(e_ij) / sum_k exp(e_ik)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from qkv.attention.normalizers.normalizer import Normalized, Normalizer

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class Softmax(Normalizer):
    """Every allowed key gets a positive weight; rows sum to 1."""

    name = "softmax"

    def forward(
        self, energies: Float[Tensor, "*batch queries keys"], *, stats: bool
    ) -> Normalized:
        """Return the weights and, with `stats`, log sum_j exp(e_ij)."""
        log_normalizer = torch.logsumexp(energies, dim=-1) if stats else None
        return Normalized(torch.softmax(energies, dim=-1), log_normalizer)
