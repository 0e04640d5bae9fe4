"""torch's fused dot-product attention, for the dot family: energies are never kept.

Softmax in tiles (Dao et al. 2022); torch picks the implementation.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from qkv.attention.kernels.twice import differentiable_twice
from qkv.attention.result import Attended
from qkv.attention.scores.score import DotScore

if TYPE_CHECKING:
    from qkv.attention.work import Work


def run(work: Work) -> Attended:
    """Bring everything to [batch, heads, time, dim], which the fast path wants, and call it."""
    score, seen = work.slots.score, work.visible
    assert isinstance(score, DotScore)
    query, bias = score.project_query(work.query), work.slots.bias
    leading = torch.broadcast_shapes(
        query.shape[:-2],
        work.key.shape[:-2],
        work.value.shape[:-2],
        () if seen is None else seen.allowed.shape[:-2],
        () if bias is None else bias.shape[:-2],
    )
    mask = _mask(work)
    context = differentiable_twice(
        _four(query, leading),
        _four(work.key, leading),
        _four(work.value, leading),
        None if mask is None else _four_mask(mask, leading),
        score.scale(work.key.shape[-1]),
    )
    context = context.reshape(*leading, *context.shape[-2:])
    if seen is not None and seen.dead is not None:
        context = context.masked_fill(seen.dead, 0)
    return Attended(context)


def _mask(work: Work) -> Tensor | None:
    """One tensor for both: True = may meet, or the bias with -inf where not."""
    seen, bias = work.visible, work.slots.bias
    if bias is None:
        return None if seen is None else seen.allowed
    bias = bias.to(work.query.dtype)
    return bias if seen is None else torch.where(seen.allowed, bias, -math.inf)


def _four(tensor: Tensor, leading: torch.Size) -> Tensor:
    if tensor.shape[:-2] != leading:
        tensor = tensor.expand(*leading, *tensor.shape[-2:])
    if len(leading) == 2:
        return tensor
    if len(leading) > 2:
        return tensor.flatten(0, -4)
    return tensor[(None,) * (2 - len(leading))] if not leading else tensor.unsqueeze(1)


def _four_mask(mask: Tensor, leading: torch.Size) -> Tensor:
    if mask.dim() == 2 or (len(leading) == 2 and mask.dim() == 4):
        return mask
    return _four(mask, leading)
