"""From a caller's arguments to the work that a kernel does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from qkv.attention.checks import (
    check_bias_fits,
    check_inputs,
    check_key,
    check_mask,
    check_moves,
    check_need,
    check_pairs,
    check_widths,
    leading_shape,
)
from qkv.attention.masks.visible import Visible, drawn, visible
from qkv.attention.prepared import Prepared, prepare

if TYPE_CHECKING:
    from qkv.attention.masks.mask import Mask
    from qkv.attention.slots import Slots

Need = Literal["context", "weights", "stats"]


@dataclass(frozen=True, eq=False)
class Work:
    """Everything a kernel needs: the slots, and tensors that are checked, hidden and aligned.

    query, key and value have equally many dimensions; key is prepared by the score.
    leading: batch and heads of the result.
    """

    slots: Slots
    query: Tensor
    key: Tensor
    value: Tensor
    visible: Visible | None
    need: Need
    leading: torch.Size


def whole(
    slots: Slots, query: Tensor, key: Tensor, value: Tensor | None, mask: Mask | None, need: Need
) -> Work:
    """All queries at once against keys that are not prepared yet."""
    value = key if value is None else value
    check_inputs(query, key, value)
    dimensions = max(query.dim(), key.dim(), value.dim())
    same = value is key
    key = _raised(key, dimensions)
    prepared = prepared_for(
        slots, key, key if same else _raised(value, dimensions), mask, query.shape[-2]
    )
    return step(slots, _raised(query, dimensions), prepared, need)


def prepared_for(
    slots: Slots, key: Tensor, value: Tensor | None, mask: Mask | None, queries: int | None
) -> Prepared:
    """Check and prepare the keys."""
    value = key if value is None else value
    check_mask(mask)
    check_key(slots.score, key)
    check_pairs(key, value)
    return prepare(slots.score, key, value, mask, queries)


def step(slots: Slots, query: Tensor, prepared: Prepared, need: Need) -> Work:
    """Some queries against prepared keys: what a decoder does at each step."""
    check_need(need)
    key, value, seen = prepared.key, prepared.value, prepared.visible
    query = _raised(query, key.dim())
    check_widths(slots.score, query, key)
    if prepared.mask is not None:
        seen = drawn(prepared.mask, query.shape[-2], key.shape[-2], key.dim() - 2, query.device)
        if seen is not None:
            key, value = seen.hide_columns(key), seen.hide_columns(value)
    if slots.bias is not None:
        seen = _narrowed(seen, slots.bias, query, key)
    check_moves(slots.reweighter, seen is not None)
    tensors = {"query": query, "key": key, "value": value}
    if seen is not None:
        tensors["mask"] = seen.allowed
        query = seen.hide_rows(query)
    return Work(slots, query, key, value, seen, need, leading_shape(tensors))


def _narrowed(seen: Visible | None, bias: Tensor, query: Tensor, key: Tensor) -> Visible | None:
    """A bias of -inf forbids as a mask does, and a row of nothing else is as dead."""
    check_bias_fits(bias, query, key)
    forbidden = torch.isneginf(_raised(bias, key.dim()))
    if not bool(forbidden.any()):
        return seen
    allowed = ~forbidden.expand(*forbidden.shape[:-1], key.shape[-2])
    if seen is None:
        return visible(allowed)
    return visible(allowed & (seen.allowed if seen.dead is None else seen.allowed & ~seen.dead))


def _raised(tensor: Tensor, dimensions: int) -> Tensor:
    """Add leading dimensions of 1, so that every tensor has as many."""
    missing = dimensions - tensor.dim()
    return tensor[(None,) * missing] if missing > 0 else tensor
