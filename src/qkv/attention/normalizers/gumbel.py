"""Straight-through Gumbel-softmax (Jang, Gu and Poole 2017, eq. 2; Maddison, Mnih and Teh 2017).

    y_ij = exp((e_ij + g_ij) / temperature) / sum_k exp((e_ik + g_ik) / temperature)
    alpha_i = one_hot(argmax_j y_ij) forward, with the gradient of y_i backward

g are Gumbel noise, drawn while training; otherwise g = 0 and the likeliest position is read.
Parameters: none.
Cost: a random number and an exponential a pair; T*S weights are kept.
Differs from the papers: the temperature is fixed, not lowered in the course of training.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from qkv.attention.normalizers.hard import gumbel_noise, one_hot
from qkv.attention.normalizers.normalizer import Normalized, Normalizer

if TYPE_CHECKING:
    from jaxtyping import Float


class Gumbel(Normalizer):
    """Each query reads one key, and the energies learn from a relaxed draw: a biased estimate.

    A low temperature makes the gradient less biased and more variable. Random numbers are torch's
    global ones.
    """

    name = "gumbel"

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        if not 0 < temperature < math.inf:
            raise ValueError(f"a temperature is a finite number above 0, got {temperature}")
        self.temperature = temperature

    @classmethod
    def sized(cls, heads: int, alpha: float | None, temperature: float) -> Self:
        """Build one with this temperature."""
        return cls(temperature)

    def forward(
        self, energies: Float[Tensor, "*batch queries keys"], *, stats: bool
    ) -> Normalized:
        """Return one-hot weights; there is no log-normaliser."""
        noisy = energies + gumbel_noise(energies) if self.training else energies
        relaxed = torch.softmax(noisy / self.temperature, dim=-1)
        hard = one_hot(noisy.argmax(-1, keepdim=True), relaxed)
        # The bracket is exactly 0, so that the weights are exactly one-hot.
        return Normalized((hard + (relaxed - relaxed.detach())).to(energies.dtype))
