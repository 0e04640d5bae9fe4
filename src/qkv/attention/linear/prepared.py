"""Keys and values that are mapped and summed once, and asked many times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from qkv.attention.checks import check_inputs, check_need, leading_shape
from qkv.attention.linear.chunks import causal, similarities
from qkv.attention.linear.features.feature_map import Mapped
from qkv.attention.linear.rule import Rule
from qkv.attention.linear.state import (
    LinearState,
    aligned,
    check_dim,
    chosen,
    divided,
    full_precision,
    leading_of,
    mapped_pairs,
    raised,
)
from qkv.attention.scores.score import at_least_float32

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from qkv.attention.linear.features.feature_map import FeatureMap
    from qkv.attention.masks.mask import Mask
    from qkv.attention.result import Attended


@dataclass(frozen=True, eq=False)
class PreparedLinear:
    """Mapped keys, values with a column of ones, and the mask: a value, never kept on a module.

    state: the sums over all keys, or over none when the mask is causal. Dimension 0 is the batch.
    """

    state: LinearState
    key: Mapped
    value: Float[Tensor, "*batch keys value_dim+1"]
    rule: Rule

    def select(self, rows: Int[Tensor, " chosen"]) -> PreparedLinear:
        """The same for these batch items, in this order, repeated if they are."""
        keep = self.rule.keep
        return PreparedLinear(
            self.state.select(rows),
            Mapped(*(chosen(part, rows, 3) for part in self.key)),
            chosen(self.value, rows, 3),
            Rule(None if keep is None else chosen(keep, rows, 2), self.rule.offset),
        )


def prepare(
    features: FeatureMap,
    key: Tensor,
    value: Tensor | None,
    mask: Mask | None,
    queries: int | None = None,
) -> PreparedLinear:
    """Hide, map and sum the keys. queries: how many will ask, where that is known.

    Raises:
        ValueError: shapes that do not fit, or a mask that linear attention cannot follow.
    """
    value = key if value is None else value
    key, value, rule = aligned(key, value, mask)
    check_dim(features, key)
    keys = key.shape[-2]
    hide = rule if queries is None else rule.narrowed(queries, keys, key.device)
    leading = leading_of(key, value, hide)
    with full_precision(key):
        mapped, value = mapped_pairs(features, key, value, hide)
        state = LinearState.empty(
            features,
            key_dim=key.shape[-1],
            value_dim=value.shape[-1] - 1,
            leading=leading,
            dtype=value.dtype,
            device=value.device,
        )
        if rule.offset is None:
            state = state.absorb(mapped, value)
    return PreparedLinear(state, mapped, value, rule)


def attend(
    query: Tensor,
    prepared: PreparedLinear,
    need: Literal["context", "weights", "stats"],
    chunk: int,
) -> Attended:
    """Some queries against prepared keys.

    Raises:
        ValueError: a query that does not fit, or an unknown need.
    """
    check_need(need)
    state = prepared.state
    query = raised(query, prepared.key.features.dim())
    _check_query(state, query)
    leading = leading_shape({"query": query, "key": state.sums})
    dead = prepared.rule.dead(query.shape[-2], query.device)
    visible = query if dead is None else query.masked_fill(dead, 0)
    with full_precision(query):
        mapped = state.features(at_least_float32(visible))
        out = divided(*_mixed(mapped, prepared, chunk), query.dtype, need)
        if need != "weights":
            return out
        weights = _weights(mapped, prepared).to(query.dtype)
    return out._replace(weights=weights.expand(*leading, *weights.shape[-2:]))


def continued(
    query: Tensor, key: Tensor, value: Tensor, state: LinearState, chunk: int
) -> Attended:
    """Queries that each read what is summed, and the keys up to their own."""
    with full_precision(query):
        mapped, value = mapped_pairs(state.features, key, value, Rule())
        asked = state.features(at_least_float32(query))
        return divided(*causal(state, asked, mapped, value, 0, chunk), query.dtype, "context")


def _mixed(query: Mapped, prepared: PreparedLinear, chunk: int) -> tuple[Tensor, Tensor]:
    """Numerators and denominators side by side, and the log of their scale."""
    state, rule = prepared.state, prepared.rule
    if rule.offset is None:
        return query.features @ state.sums, query.log_scale + state.log_scale
    return causal(state, query, prepared.key, prepared.value, rule.offset, chunk)


def _weights(query: Mapped, prepared: PreparedLinear) -> Tensor:
    """What the sums imply: phi(q_i) . phi(k_j) / denominator, pair by pair."""
    queries, keys = query.features.shape[-2], prepared.value.shape[-2]
    may = prepared.rule.pairs(queries, keys, prepared.value.device)
    similar, _ = similarities(query, prepared.key, may)
    total = similar.sum(-1, keepdim=True)
    return similar / total.masked_fill(total == 0, 1)


def _check_query(state: LinearState, query: Tensor) -> None:
    check_inputs(query, query, query)
    state.check_draw()
    check_dim(state.features, query)
    width = state.features.width(query.shape[-1])
    if width != state.sums.shape[-2]:
        raise ValueError(
            f"queries of width {query.shape[-1]} have {width} features and the keys have "
            f"{state.sums.shape[-2]}: linear attention compares queries and keys of one width; "
            "project one of them, or attend with the score 'general' or 'additive'"
        )
    if torch.promote_types(query.dtype, torch.float32) != state.sums.dtype:
        raise ValueError(
            f"query is {query.dtype} and the keys were summed in {state.sums.dtype}: convert one"
        )
