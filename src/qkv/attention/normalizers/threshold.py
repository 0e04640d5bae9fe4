"""The weights of sparsemax and entmax, without their gradient: find where to cut each row.

    p_j = max(z_j - tau, 0)^q,  z = (alpha - 1) e,  q = 1 / (alpha - 1),  tau such that p sums to 1

The sum is convex in tau for alpha <= 2, so Newton's steps from below never pass the root: they
rise until rounding stops them, after some five steps (for alpha = 2 this is the finite algorithm
of Michelot 1986; nothing is sorted). For alpha > 2, and where a program is recorded and loops have
a length that is fixed, the interval is halved for each bit of the precision.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from qkv.attention.recorded import recorded

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

_TOGETHER = 1 << 17
"""Numbers that the steps go over at a time: they stay in a core's cache."""


@torch.no_grad()
def above_threshold(
    energies: Float[Tensor, "*batch queries keys"], alpha: Tensor
) -> Float[Tensor, "*batch queries keys"]:
    """Return the alpha-entmax of each row; alpha > 1 broadcasts to the energies."""
    if recorded() or bool((alpha > 2).any()):
        return _halve(energies, alpha)
    rows = energies.reshape(-1, energies.shape[-1])
    alphas = alpha.expand(*energies.shape[:-1], 1).reshape(-1, 1) if alpha.dim() else alpha
    weights = torch.empty_like(rows)
    count = max(1, _TOGETHER // max(1, rows.shape[-1]))
    for first in range(0, len(rows), count):
        some = slice(first, first + count)
        weights[some] = _rise(rows[some], alphas[some] if alpha.dim() else float(alpha))
    return weights.view(energies.shape)


def _rise(energies: Tensor, alpha: Tensor | float) -> Tensor:
    """Newton's method, from one below the largest."""
    power = 1 / (alpha - 1)
    shifted = (energies - energies.amax(-1, keepdim=True)).mul_(alpha - 1)
    threshold = torch.full_like(shifted[:, :1], -1.0)
    excess = torch.empty_like(shifted)
    for _ in range(energies.shape[-1] + 64):  # Michelot's bound, and some steps of rounding
        torch.sub(shifted, threshold, out=excess).clamp_(min=0)
        slope = _power(excess, power - 1)
        total = torch.linalg.vecdot(excess, slope).unsqueeze(-1)
        step = (total - 1) / (slope.sum(-1, keepdim=True) * power)
        if not bool((threshold + step > threshold).any()):
            break
        threshold += step.clamp_(min=0)
    torch.sub(shifted, threshold, out=excess).clamp_(min=0)
    weights = excess.pow_(power)
    return weights.div_(weights.sum(-1, keepdim=True))


def _power(excess: Tensor, power: Tensor | float) -> Tensor:
    """Return excess^power on the support and 0 elsewhere: 0^0 is 0 here."""
    if isinstance(power, float) and power != 0:
        return excess if power == 1 else excess.pow(power)
    return torch.where(excess > 0, excess.pow(power), 0.0)


def _halve(energies: Tensor, alpha: Tensor) -> Tensor:
    """Halve the interval of tau, [-1, -keys^(1 - alpha)] below the largest, down to rounding."""
    shifted = (energies - energies.amax(-1, keepdim=True)) * (alpha - 1)
    power = 1 / (alpha - 1)
    low = torch.full_like(shifted[..., :1], -1.0)
    width = 1 - energies.shape[-1] ** (1 - alpha)
    for _ in range(math.ceil(-math.log2(torch.finfo(energies.dtype).eps)) + 2):
        width = width / 2
        too_much = (shifted - low - width).clamp(min=0).pow(power).sum(-1, keepdim=True) >= 1
        low = torch.where(too_much, low + width, low)
    weights = (shifted - low).clamp(min=0).pow(power)
    return weights / weights.sum(-1, keepdim=True)
