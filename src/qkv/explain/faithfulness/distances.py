"""How far two outputs, or two rows of weights, are apart."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

JSD_MOST = math.log(2)
"""The largest Jensen-Shannon divergence: that of weights without a position in common."""


def tvd(
    first: Float[Tensor, "*batch classes"], second: Float[Tensor, "*batch classes"]
) -> Float[Tensor, "*batch"]:
    """Return the total variation distance, 1/2 sum |p - q|, in 0..1.

    Of two classes it is the difference of one's probability, as both papers have it.
    """
    return (first - second).abs().sum(-1) / 2


def jsd(
    first: Float[Tensor, "*batch time"], second: Float[Tensor, "*batch time"]
) -> Float[Tensor, "*batch"]:
    """Return the Jensen-Shannon divergence in nats, in 0..ln 2, with gradients that are finite.

    JSD(p, q) = H((p + q) / 2) - (H(p) + H(q)) / 2,  H(p) = - sum p log p
    """
    return entropy((first + second) / 2) - (entropy(first) + entropy(second)) / 2


def between(rows: Float[Tensor, "batch rows time"]) -> Float[Tensor, " batch"]:
    """Return the mean JSD over all pairs of rows, a row with itself included."""
    count = rows.shape[1]
    one, other = torch.triu_indices(count, count, offset=1, device=rows.device)
    alone = entropy(rows)
    pairs = entropy((rows[:, one] + rows[:, other]) / 2) - (alone[:, one] + alone[:, other]) / 2
    return 2 * pairs.sum(1) / count**2


def entropy(shares: Float[Tensor, "*batch time"]) -> Float[Tensor, "*batch"]:
    """Return - sum p log p, in nats."""
    return -(shares * _log(shares)).sum(-1)


def kl(
    first: Float[Tensor, "*batch time"], second: Float[Tensor, "*batch time"]
) -> Float[Tensor, "*batch"]:
    """Return KL(p || q) = sum p log(p / q), in nats, with gradients that are finite."""
    return (first * (_log(first) - _log(second))).sum(-1)


def _log(shares: Float[Tensor, "*batch time"]) -> Float[Tensor, "*batch time"]:
    return shares.clamp_min(torch.finfo(shares.dtype).tiny).log()
