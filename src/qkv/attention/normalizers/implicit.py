"""Derivatives of the sparse normalisers, from their weights alone (Peters et al. 2019, eq. 13)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def differentiable(energies: Tensor, alpha: Tensor, weights: Tensor) -> Tensor:
    """Make alpha-entmax weights, found without a gradient, differentiable as often as one likes.

    On the support, with s = p^(2 - alpha):  dp = s * (de - sum(s de) / sum(s)).
    With h = -p log p and t = s / sum(s) (Correia, Niculae and Martins 2019, proposition 1):
    dp / dalpha = (p - t) / (alpha - 1)^2 + (h - t sum(h)) / (alpha - 1).

    alpha: more than 1; 0-D, or a size that broadcasts to the energies'.
    """
    attached: Tensor = _Implicit.apply(energies, alpha, weights)
    return attached


class _Implicit(torch.autograd.Function):
    """The identity on `weights`, whose way back is written in operations that have one too."""

    @staticmethod
    def forward(ctx: Any, energies: Tensor, alpha: Tensor, weights: Tensor) -> Tensor:
        weights = weights.clone()
        ctx.save_for_backward(alpha, weights)
        return weights

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        alpha, weights = ctx.saved_tensors
        support = weights > 0
        inside = torch.where(support, weights, 1.0)  # no power or logarithm of 0
        slope = torch.where(support, inside ** (2 - alpha), 0.0)
        share = slope / slope.sum(-1, keepdim=True)
        by_energy = slope * (gradient - (share * gradient).sum(-1, keepdim=True))
        if not ctx.needs_input_grad[1]:
            return by_energy, None, None
        entropy = -weights * inside.log()
        steepness = (weights - share) / (alpha - 1) ** 2
        steepness = steepness + (entropy - share * entropy.sum(-1, keepdim=True)) / (alpha - 1)
        return by_energy, (gradient * steepness).sum_to_size(alpha.shape), None
