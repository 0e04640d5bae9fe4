"""The causal form, chunk by chunk: pairs within a chunk, the recurrent state before it.

With chunks of C queries, features of width m and values of width d: T (C (m + d) + m d)
operations; T C numbers for the pairs and (T / C) m d for the states, which the backward pass
needs. No [T, S] matrix exists, nor a state for each position, which would be T m d.
Gradients are autograd's, over the chunks, as often as one likes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from qkv.attention.linear.features.feature_map import Mapped
from qkv.attention.linear.rule import Rule

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor

    from qkv.attention.linear.state import LinearState


def causal(
    state: LinearState, query: Mapped, key: Mapped, value: Tensor, offset: int, chunk: int
) -> tuple[Float[Tensor, "*batch queries value_dim+1"], Float[Tensor, "*batch queries 1"]]:
    """phi(q_i) . sum_{j <= i + offset} phi(k_j) [v_j, 1]^T, and the log of its scale.

    A row's scale is the largest of the keys that it meets: what comes later has no say in it,
    not even by rounding.
    """
    queries, keys = query.features.shape[-2], key.features.shape[-2]
    starts = list(range(0, queries, chunk))
    borders = [min(max(i + offset, 0), keys) for i in (*starts, queries)]
    sizes = [b - a for a, b in zip([0, *borders], [*borders, keys], strict=True)]
    # One split each: slices would each write a gradient as long as the whole.
    parts = list(zip(*(t.split(sizes, -2) for t in (*key, value)), strict=True))
    state = state.absorb(Mapped(*parts[0][:2]), parts[0][2])
    out = []
    for n, rows in enumerate(zip(*(t.split(chunk, -2) for t in query), strict=True)):
        part = Mapped(*parts[n + 1][:2])
        behind = Rule(offset=starts[n] + offset - borders[n])
        may = behind.pairs(rows[0].shape[-2], sizes[n + 1], value.device)
        out.append(_chunk(state, Mapped(*rows), part, parts[n + 1][2], may))
        state = state.absorb(part, parts[n + 1][2])
    mixed, scales = zip(*out, strict=True)
    return torch.cat(mixed, -2), torch.cat(scales, -2) + query.log_scale


def _chunk(
    state: LinearState,
    query: Mapped,
    key: Mapped,
    value: Tensor,
    may: Bool[Tensor, "queries keys"],
) -> tuple[Tensor, Tensor]:
    """One chunk of queries, with the keys before it in `state` and those beside it in `key`."""
    before = query.features @ state.sums
    if may.shape[-1] == 0:
        return before, state.log_scale.expand(*state.log_scale.shape[:-2], before.shape[-2], 1)
    similar, top = similarities(query, key, may, state.log_scale)
    return before * torch.exp(state.log_scale - top) + similar @ value, top


def similarities(
    query: Mapped, key: Mapped, may: Bool[Tensor, "queries keys"], least: Tensor | None = None
) -> tuple[Float[Tensor, "*batch queries keys"], Float[Tensor, "*batch queries 1"]]:
    """phi(q_i) . phi(k_j) exp(-top_i) where i may meet j, 0 elsewhere; and top.

    The query's own scale is left out. Future keys are taken out of the exponent, not only of the
    product: theirs may overflow.
    """
    lowest = torch.finfo(key.log_scale.dtype).min
    scales = torch.where(may, key.log_scale.mT, lowest)
    top = scales.amax(-1, keepdim=True)
    if least is not None:
        top = torch.maximum(top, least)
    factors = torch.exp(scales - top).masked_fill(~may, 0)
    return (query.features @ key.features.mT) * factors, top
