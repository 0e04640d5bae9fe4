"""Softmax (Bahdanau, Cho and Bengio 2015, eq. 6), with a temperature (Hinton et al. 2015, eq. 1).

    alpha_ij = exp(e_ij / temperature) / sum_k exp(e_ik / temperature)

Parameters: none.
Cost: an exponential a pair; T*S weights, none of them kept where the fused kernel runs.
Differs from the papers: not at all.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

import torch

from qkv.attention.normalizers.normalizer import Normalized, Normalizer

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class Softmax(Normalizer):
    """Every allowed key gets a positive weight; rows sum to 1.

    Below 1 a temperature sharpens the weights, above 1 it flattens them.
    """

    name = "softmax"

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        if not 0 < temperature < math.inf:
            raise ValueError(f"a temperature is a finite number above 0, got {temperature}")
        self.temperature = temperature
        if temperature != 1:
            self.name = "softmax with a temperature"  # kernels of the plain softmax leave it alone

    @classmethod
    def sized(cls, heads: int, alpha: float | None, temperature: float) -> Self:
        """Build one with this temperature."""
        return cls(temperature)

    def forward(
        self, energies: Float[Tensor, "*batch queries keys"], *, stats: bool
    ) -> Normalized:
        """Return the weights and, with `stats`, log sum_j exp(e_ij / temperature)."""
        if self.temperature != 1:
            energies = energies / self.temperature
        log_normalizer = torch.logsumexp(energies, dim=-1) if stats else None
        return Normalized(torch.softmax(energies, dim=-1), log_normalizer)
