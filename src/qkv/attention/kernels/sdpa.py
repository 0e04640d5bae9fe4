"""torch's fused dot-product attention, for the dot family: energies are never kept.

Softmax in tiles (Dao et al. 2022); torch picks the implementation.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from qkv.attention.kernels.reference import beside
from qkv.attention.kernels.tiled import available, flash, fused
from qkv.attention.kernels.twice import differentiable_twice
from qkv.attention.kernels.unrounded import rounds, unrounded
from qkv.attention.recorded import recorded
from qkv.attention.result import Attended
from qkv.attention.scores.score import DotScore

if TYPE_CHECKING:
    from qkv.attention.work import Work


def run(work: Work) -> Attended:
    """Bring everything to [batch, heads, time, dim], which the fast path wants, and call it."""
    score, seen, leading = work.slots.score, work.visible, work.leading
    assert isinstance(score, DotScore)
    causal = seen is not None and seen.causal and work.slots.bias is None
    mask = None if causal else _mask(work)
    read = work.value.shape[-1]
    width = max(work.key.shape[-1], read)
    given = (
        _four(_padded(score.project_query(work.query), width), leading),
        _four(_padded(work.key, width), leading),
        _four(_padded(work.value, width), leading),
    )
    mask = None if mask is None else _four_mask(mask, leading)
    scale = score.scale(work.key.shape[-1])
    logs = None
    if work.need == "stats" and _told(given):
        context, logs, _ = fused(given, mask, scale, causal)
    else:
        attend = unrounded if rounds(given[0]) else F.scaled_dot_product_attention
        context = differentiable_twice(*given, mask, scale, causal, attend)
    context = context if width == read else context[..., :read]
    if len(leading) != 2:
        context = context.reshape(*leading, *context.shape[-2:])
        logs = None if logs is None else logs.reshape(*leading, -1)
    context = with_lost_rows(work.query, context)
    if seen is not None and seen.dead is not None:
        context = context.masked_fill(seen.dead, 0)
    return beside(work, context, logs)


def _told(given: tuple[Tensor, ...]) -> bool:
    """Whether torch's own operator may tell the log-normaliser: a CPU, and nothing recorded."""
    kept = torch.is_grad_enabled() and any(t.requires_grad for t in given)
    return not kept and not recorded() and watchable(*given)


def with_lost_rows(query: Tensor, context: Tensor) -> Tensor:
    """A query that is not finite has no context: torch's CPU kernel gives it zeros, not NaN."""
    if not recorded() and loses_none(query):
        return context
    return context.masked_fill(~query.isfinite().all(-1, keepdim=True), math.nan)


def loses_none(query: Tensor) -> bool:
    """Whether all are finite, at a glance; after a large product each line here is read anew."""
    if not query.is_cpu:
        return True
    return math.isfinite((query.detach() if query.requires_grad else query).sum().item())


def watchable(*given: Tensor) -> bool:
    """Whether torch's fused attention is its operator for a CPU, which may then be called."""
    plain = all(tensor.is_cpu and tensor.stride(-1) == 1 for tensor in given)
    return plain and not torch.is_autocast_enabled("cpu") and available()


def watched(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """Torch's own operator for a CPU, with lost rows seen in its log-normalisers.

    A row that is not a number has the log-normaliser 0, which others have by chance: the query,
    width times as large and read long ago, is looked at again only then.
    """
    context: Tensor
    context, logs = flash(query, key, value, 0.0, is_causal, attn_mask=attn_mask, scale=scale)
    if int(logs.count_nonzero()) == logs.numel():
        return context
    return with_lost_rows(query, context)


def _mask(work: Work) -> Tensor | None:
    """One tensor for both: True = may meet, or the bias with -inf where not."""
    seen, bias = work.visible, work.slots.bias
    assert bias is None or isinstance(bias, Tensor)
    if bias is None:
        return None if seen is None else seen.allowed
    bias = bias.to(work.query.dtype)
    if bias.shape[-1] == 1:
        bias = bias.expand(*bias.shape[:-1], work.key.shape[-2])
    if seen is None:
        return bias if bias.dim() > 1 else bias.unsqueeze(0)
    bias = torch.where(seen.allowed, bias, -math.inf)
    return bias if seen.dead is None else bias.masked_fill(seen.dead, 0)


def _padded(tensor: Tensor, width: int) -> Tensor:
    """Zeros change no dot product; with two widths torch would keep all energies."""
    missing = width - tensor.shape[-1]
    return F.pad(tensor, (0, missing)) if missing else tensor


def _four(tensor: Tensor, leading: torch.Size) -> Tensor:
    if tensor.shape[:-2] != leading:
        tensor = tensor.expand(*leading, *tensor.shape[-2:])
    if len(leading) == 2:
        return tensor
    if len(leading) == 1:
        return tensor.unsqueeze(1)
    return tensor.flatten(0, -4) if leading else tensor[None, None]


def _four_mask(mask: Tensor, leading: torch.Size) -> Tensor:
    """Leading dimensions of 1 stay: torch stretches them without a copy."""
    if mask.dim() == 2 or (len(leading) == 2 and mask.dim() == 4):
        return mask
    if len(leading) == 1:
        return mask.unsqueeze(1)
    return _four(mask, leading)
