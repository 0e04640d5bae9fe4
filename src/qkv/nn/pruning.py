"""Heads left out (Michel, Levy and Neubig 2019, section 3; Voita et al. 2019, section 5)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from math import gcd
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from qkv.attention.heads import keep_heads
from qkv.nn.multi_head import MultiHeadAttention

if TYPE_CHECKING:
    from jaxtyping import Int


def without(layer: MultiHeadAttention, heads: Iterable[int]) -> MultiHeadAttention:
    """Return the layer without these heads; see `MultiHeadAttention.without`."""
    kept = _kept(layer, heads)
    device = layer.project_query.weight.device
    shared = _groups(kept, layer.heads // layer.kv_heads)
    kept_heads, kv_heads = (torch.tensor(part, device=device) for part in (kept, shared))
    with torch.device("meta"):  # no random number is drawn for weights that are replaced
        pruned = MultiHeadAttention(
            layer.project_query.in_features,
            len(kept),
            kv_heads=len(shared),
            head_dim=layer.head_dim,
            bias=layer.project_query.bias is not None,
            key_dim=layer.project_key.in_features,
            value_dim=layer.project_value.in_features,
            attention=layer.attention.of_heads(kept_heads),
        )
    width = layer.head_dim
    _cut_rows(layer.project_query, pruned.project_query, _rows(kept_heads, width))
    _cut_rows(layer.project_key, pruned.project_key, _rows(kv_heads, width))
    _cut_rows(layer.project_value, pruned.project_value, _rows(kv_heads, width))
    old, new = layer.project_context, pruned.project_context
    new.weight = _kept_parameter(old.weight, _rows(kept_heads, width), 1)
    if old.bias is not None:
        new.bias = _kept_parameter(old.bias, torch.arange(len(old.bias), device=device), 0)
    return pruned.train(layer.training)


def _kept(layer: MultiHeadAttention, heads: Iterable[int]) -> list[int]:
    left_out = set(heads)
    unknown = sorted(left_out - set(range(layer.heads)))
    if unknown:
        raise ValueError(f"the layer has heads 0 to {layer.heads - 1}, got {unknown}")
    kept = [head for head in range(layer.heads) if head not in left_out]
    if not kept:
        raise ValueError(
            f"all {layer.heads} heads would be left out: keep one, or leave out the layer"
        )
    return kept


def _groups(kept: list[int], group: int) -> list[int]:
    """For each new group of the heads kept: which old head of keys and values it reads.

    Where unequally many heads of the old groups are left, one may serve several new groups.
    """
    left = {old: len(list(some)) for old, some in groupby(kept, lambda head: head // group)}
    size = gcd(*left.values())
    return [old for old, count in left.items() for _ in range(count // size)]


def _rows(heads: Int[Tensor, " heads"], width: int) -> Int[Tensor, " rows"]:
    """The rows of a projection that belong to these heads."""
    return (heads.unsqueeze(-1) * width + torch.arange(width, device=heads.device)).flatten()


def _cut_rows(old: nn.Linear, new: nn.Linear, rows: Tensor) -> None:
    new.weight = _kept_parameter(old.weight, rows, 0)
    if old.bias is not None:
        new.bias = _kept_parameter(old.bias, rows, 0)


def _kept_parameter(parameter: Tensor, rows: Tensor, axis: int) -> nn.Parameter:
    return cast("nn.Parameter", keep_heads(parameter, rows, axis))
