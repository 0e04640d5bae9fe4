"""From a caller's arguments to the work that a kernel does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from qkv.attention.biases.position_bias import Placed
from qkv.attention.checks import (
    check_bias_fits,
    check_inputs,
    check_key,
    check_lengths,
    check_mask,
    check_moves,
    check_need,
    check_pairs,
    check_widths,
    leading_shape,
)
from qkv.attention.masks.runs import Runs
from qkv.attention.masks.visible import Visible, visible
from qkv.attention.prepared import Prepared, empty, lay, prepare_for
from qkv.attention.recorded import recorded
from qkv.attention.tiles import Tiles
from qkv.attention.weights_of import WeightsOf

if TYPE_CHECKING:
    from qkv.attention.masks.mask import Mask
    from qkv.attention.masks.pairs import Pairs
    from qkv.attention.slots import Slots

Asked = Literal["context", "weights", "stats"]
Need = Asked | WeightsOf


@dataclass(frozen=True, eq=False)
class Work:
    """Everything a kernel needs: the slots, and tensors that are checked, hidden and aligned.

    query, key and value have equally many dimensions; key is prepared by the score.
    leading: batch and heads of the result. tiles: the mask, where most pairs are left out.
    runs: the mask, where it leaves each query a short run of keys.
    pairs: where these queries and keys stand, when they are one group of such tiles.
    only: which of the weights are wanted; None: all.
    """

    slots: Slots
    query: Tensor
    key: Tensor
    value: Tensor
    visible: Visible | None
    need: Asked
    leading: torch.Size
    tiles: Tiles | None = None
    pairs: Pairs | None = None
    runs: Runs | None = None
    only: WeightsOf | None = None


def whole(
    slots: Slots,
    query: Tensor,
    key: Tensor,
    value: Tensor | None,
    mask: Mask | None,
    need: Need,
    kernel: str = "auto",
) -> Work:
    """All queries at once against keys that are not prepared yet."""
    value = key if value is None else value
    check_inputs(query, key, value)
    check_mask(mask)
    check_lengths(mask, key.shape[-2])
    dimensions = max(query.dim(), key.dim(), value.dim())
    key, value = _raised_both(key, value, dimensions)
    check_key(slots.score, key)
    check_pairs(key, value)
    seen = None
    if mask is not None:
        sizes = query.shape[-2], key.shape[-2], dimensions - 2
        seen = lay(slots, mask, sizes, query.device, kernel)
    prepared = prepare_for(slots.score, key, value, mask, seen)
    return step(slots, raised(query, dimensions), prepared, need)


def step(
    slots: Slots, query: Tensor, prepared: Prepared, need: Need, mask: Mask | None = None
) -> Work:
    """Some queries against prepared keys: what a decoder does at each step.

    mask: what else these queries may not meet.
    """
    only = need if isinstance(need, WeightsOf) else None
    asked: Asked = "weights" if isinstance(need, WeightsOf) else need
    check_need(asked)
    key, value, seen = prepared.key, prepared.value, prepared.seen
    query = raised(query, key.dim())
    check_widths(slots.score, query, key)
    redrawn = mask is not None or (isinstance(seen, Tiles) and not slots.tileable)
    waiting = both(prepared.mask if seen is None or redrawn else None, mask)
    if waiting is not None:
        sizes = query.shape[-2], key.shape[-2], key.dim() - 2
        seen = lay(slots, waiting, sizes, query.device)
        if isinstance(seen, Visible):
            key, value = empty(key, value, seen.hidden)
    bias = slots.bias
    if bias is not None:
        check_bias_fits(bias, query, key)
    if isinstance(seen, Tiles | Runs):
        tensors = {"query": query, "key": key, "value": value, "mask": seen.sample}
        leading = _leading(tensors, only)
        work = Work(slots, query, key, value, None, asked, leading, only=only)
        return _laid_out(work, seen)
    if isinstance(bias, Placed):
        bias = bias.dense(query.shape[-2], key.shape[-2], query.device).to(query.dtype)
        slots = replace(slots, bias=bias)
    elif bias is not None:
        seen = _narrowed(seen, bias, key)
    check_moves(slots.reweighter, seen is not None)
    tensors = {"query": query, "key": key, "value": value}
    if seen is not None:
        if not seen.causal:
            tensors["mask"] = seen.allowed
        query = seen.hide_rows(query)
    return Work(slots, query, key, value, seen, asked, _leading(tensors, only), only=only)


def _laid_out(work: Work, seen: Tiles | Runs) -> Work:
    if isinstance(seen, Tiles):
        return replace(work, tiles=seen)
    query, key = work.query, work.key
    if torch.is_grad_enabled():  # else queries that read nothing give nothing
        query = seen.hide_rows(query)
    if work.slots.score.prepares and query.shape[-2] > 1:
        key, _ = empty(key, key, seen.hidden)  # what the loops share of them looks at all
    return replace(work, runs=seen, query=query, key=key)


def _leading(tensors: dict[str, Tensor], only: WeightsOf | None) -> torch.Size:
    leading = leading_shape(tensors)
    if only is not None:
        only.check(leading, tensors["query"].shape[-2])
    return leading


def both(first: Mask | None, second: Mask | None) -> Mask | None:
    """Return the mask that both make, where there are two."""
    if first is None or second is None:
        return second if first is None else first
    return first & second


def _narrowed(seen: Visible | None, bias: Tensor, key: Tensor) -> Visible | None:
    """A bias of -inf forbids as a mask does, and a row of nothing else is as dead."""
    forbidden = torch.isneginf(raised(bias, key.dim()))
    if not recorded() and not bool(forbidden.any()):
        return seen
    allowed = ~forbidden.expand(*forbidden.shape[:-1], key.shape[-2])
    if seen is None:
        return visible(allowed)
    return visible(allowed & (seen.allowed if seen.dead is None else seen.allowed & ~seen.dead))


def _raised_both(key: Tensor, value: Tensor, dimensions: int) -> tuple[Tensor, Tensor]:
    same = value is key
    key = raised(key, dimensions)
    return key, key if same else raised(value, dimensions)


def raised(tensor: Tensor, dimensions: int) -> Tensor:
    """Add leading dimensions of 1, up to so many dimensions."""
    missing = dimensions - tensor.dim()
    return tensor[(None,) * missing] if missing > 0 else tensor
