"""What the fused additive kernels compute, in plain torch: any derivative, and nothing saved."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from qkv.attention.scores.score import tanh_energies


class Inputs(NamedTuple):
    """a, b, v of an additive attention, and all that may be said of its pairs.

    a [items, queries, hidden] and b [items, keys, hidden] may be anything; allowed and bias are
    [items, queries, keys], stretched without a copy.
    """

    a: Tensor
    b: Tensor
    v: Tensor
    allowed: Tensor | None = None
    bias: Tensor | None = None


def composed(inputs: Inputs, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same equation in plain torch: context, log-normaliser, weights."""
    a, b, v, allowed, bias = inputs
    energies = tanh_energies(a, b, v)
    if bias is not None:
        energies = energies + bias
    if allowed is not None:
        energies = torch.where(allowed, energies, -math.inf)
    dead = torch.isneginf(energies).all(-1, keepdim=True)
    energies = energies.masked_fill(dead, 0)
    weights = torch.softmax(energies, -1).masked_fill(dead, 0)
    log_normalizer = torch.logsumexp(energies, -1).masked_fill(dead.squeeze(-1), -math.inf)
    return weights @ value.to(weights.dtype), log_normalizer, weights
