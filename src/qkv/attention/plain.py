"""The plain case told at a glance: softmax over (scaled) dot products, one batch, no more.

attend() looks at its arguments one after another, which takes as long as a small attention does.
Here they are looked at once, all together: what is not plain, or not right, goes the general way,
which says what is wrong with it, and is the oracle of this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from qkv.attention.kernels.sdpa import loses_none, watchable, watched, with_lost_rows
from qkv.attention.kernels.twice import differentiable_twice
from qkv.attention.masks.mask import Mask
from qkv.attention.recorded import recorded, transformed
from qkv.attention.scores.dot import Dot
from qkv.attention.scores.scaled_dot import ScaledDot
from qkv.attention.scores.score import DotScore

if TYPE_CHECKING:
    from qkv.attention.masks.runs import Runs
    from qkv.attention.masks.visible import Visible
    from qkv.attention.prepared import Prepared
    from qkv.attention.tiles import Tiles

_SCORES: dict[object, DotScore] = {
    "dot": Dot(),
    Dot: Dot(),
    "scaled_dot": ScaledDot(),
    ScaledDot: ScaledDot(),
}
_TYPES = (torch.float32, torch.float64)
_LARGE = 2**17
"""Numbers of a query that are no longer in the caches after the products (measured)."""


def plain(score: object, query: object, key: object, value: object, mask: object) -> Tensor | None:
    """Return the context of queries that meet all keys, or those before them; None: not plain."""
    if not (isinstance(query, Tensor) and isinstance(key, Tensor) and isinstance(value, Tensor)):
        return None
    causal = False
    if mask is not None:
        if not isinstance(mask, Mask) or query.dim() != 4 or key.dim() != 4:
            return None
        queries, keys = query.shape[2], key.shape[2]
        if recorded() or mask.longer_than(keys) is not None:
            return None
        if not mask.forbids_nothing(queries, keys):
            causal = mask.triangular(queries, keys)
            if not causal:
                return None
    return _fused(score, query, key, value, causal)


def plain_step(score: object, query: Tensor, prepared: Prepared) -> Tensor | None:
    """The same of keys that are prepared."""
    if prepared.seen is None and prepared.mask is not None:
        return None
    if prepared.seen is not None and not _triangle(prepared.seen):
        return None
    causal = prepared.seen is not None
    return _fused(score, query, prepared.key, prepared.value, causal)


def _triangle(seen: Visible | Tiles | Runs) -> bool:
    return getattr(seen, "causal", False)


def _fused(
    score: object, query: Tensor, key: Tensor, value: Tensor, causal: bool
) -> Tensor | None:
    """Call torch's fused attention if all fits; None if not."""
    kind = _SCORES.get(score if isinstance(score, str) else type(score))
    shape, other = query.shape, key.shape
    if (
        kind is None
        or len(shape) not in (3, 4)
        or len(other) != len(shape)
        or other != value.shape
        or shape[-1] != other[-1]
        or shape[0] != other[0]
        or (len(shape) == 4 and shape[1] != other[1])
        or 0 in shape
        or other[-2] == 0
        or query.dtype not in _TYPES
        or key.dtype != query.dtype
        or value.dtype != query.dtype
        or torch.get_float32_matmul_precision() != "highest"
        or recorded()
        or transformed()
    ):
        return None
    scale = kind.scale(shape[-1])
    if len(shape) == 3:
        query, key, value = query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1)
    large = shape.numel() >= _LARGE and watchable(query, key, value)
    attend = watched if large else F.scaled_dot_product_attention
    if query.requires_grad or key.requires_grad or value.requires_grad:
        context = differentiable_twice(query, key, value, None, scale, causal, attend)
    else:
        context = attend(query, key, value, is_causal=causal, scale=scale)
    if not (large or loses_none(query)):
        context = with_lost_rows(query, context)
    return context if len(shape) == 4 else context.squeeze(1)
