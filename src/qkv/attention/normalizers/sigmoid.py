"""Sigmoid (Ramapuram et al. 2024, eq. 3): each key by itself, without competition.

    alpha_ij = 1 / (1 + exp(-(e_ij + b))),   b = -log n

Parameters: none.
Cost: an exponential a pair, and no sum over a row; T*S weights are kept.
Differs from the paper: n counts the keys that query i may meet, not all, so that pads change
nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from qkv.attention.normalizers.normalizer import Normalized, Normalizer

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class Sigmoid(Normalizer):
    """Weights lie between 0 and 1, and rows need not sum to 1.

    bias: b; None takes -log n, with which a row of equal energies 0 sums to about 1.
    """

    name = "sigmoid"

    def __init__(self, bias: float | None = None) -> None:
        super().__init__()
        self.bias = bias

    def forward(
        self, energies: Float[Tensor, "*batch queries keys"], *, stats: bool
    ) -> Normalized:
        """Return the weights; there is no log-normaliser."""
        if self.bias is not None:
            return Normalized(torch.sigmoid(energies + self.bias))
        allowed = (~energies.isneginf()).sum(-1, keepdim=True).to(energies.dtype)
        return Normalized(torch.sigmoid(energies - allowed.log()))
