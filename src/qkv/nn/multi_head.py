"""Multi-head attention (Vaswani et al. 2017, section 3.2.2), with any score and grouped heads.

    head_h = attention(x W_q^h, y W_k^h, z W_v^h)        output = [head_1; ...; head_H] W_o

Grouped heads (Ainslie et al. 2023): `kv_heads` heads of keys and values, each read by
heads / kv_heads heads of queries; kv_heads=1 is Shazeer's (2019) multi-query attention.
Differs from the paper: biases on the projections by default, as nn.MultiheadAttention has.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from qkv.attention import Attention, LinearAttention, scores
from qkv.attention.checks import check_mask, check_pairs
from qkv.attention.masks.mask import align
from qkv.attention.masks.visible import Visible
from qkv.attention.prepared import Prepared, empty
from qkv.attention.recorded import recorded
from qkv.attention.result import Attended
from qkv.nn.cache import KeyValueCache
from qkv.nn.summed_cache import SummedCache

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from qkv.attention import LinearState, Mask
    from qkv.attention.normalizers.normalizer import Normalizer
    from qkv.attention.scores.score import Score
    from qkv.attention.tiles import Tiles
    from qkv.attention.work import Need


class MultiHeadAttention(nn.Module):
    """Attend in `heads` subspaces side by side.

    Parameters: W_q [heads * head_dim, d_model], W_k [kv_heads * head_dim, key_dim],
    W_v [kv_heads * head_dim, value_dim], W_o [d_model, heads * head_dim], and those of the score,
    which compares vectors of head_dim (d_model / heads, unless given) and is shared by the heads;
    a name builds one. All slots, such as a bias on positions or a window, come as one built part:
    attention=Attention(...).

    Cost: that of the score on T*S pairs a head, and the four projections.

        layer(x)                                   self-attention
        layer(x, mask=Mask.causal())               a decoder's
        layer(x, memory, mask=Mask.lengths(n))     across
    """

    def __init__(  # noqa: PLR0913 - the slots of the equation are its arguments
        self,
        d_model: int,
        heads: int,
        *,
        kv_heads: int | None = None,
        head_dim: int | None = None,
        score: str | Score = "scaled_dot",
        normalizer: str | Normalizer = "softmax",
        dropout: float = 0.0,
        bias: bool = True,
        key_dim: int | None = None,
        value_dim: int | None = None,
        attention: Attention | LinearAttention | None = None,
    ) -> None:
        super().__init__()
        kv_heads = heads if kv_heads is None else kv_heads
        _check_sizes(d_model, heads, kv_heads, head_dim)
        self.heads, self.kv_heads = heads, kv_heads
        self.head_dim = d_model // heads if head_dim is None else head_dim
        key_dim = d_model if key_dim is None else key_dim
        value_dim = key_dim if value_dim is None else value_dim
        self.project_query = nn.Linear(d_model, heads * self.head_dim, bias=bias)
        self.project_key = nn.Linear(key_dim, kv_heads * self.head_dim, bias=bias)
        self.project_value = nn.Linear(value_dim, kv_heads * self.head_dim, bias=bias)
        self.project_context = nn.Linear(heads * self.head_dim, d_model, bias=bias)
        if attention is None:
            if isinstance(score, str):
                score = scores.build(score, query_dim=self.head_dim, key_dim=self.head_dim)
            attention = Attention(score=score, normalizer=normalizer, dropout=dropout)
        elif (score, normalizer, dropout) != ("scaled_dot", "softmax", 0.0):
            raise ValueError(
                "give either attention=Attention(...) with its slots filled, or score, normalizer "
                "and dropout"
            )
        self.attention: Attention | LinearAttention = attention
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot-uniform projections with zero biases: energies start with a variance near 1."""
        for layer in (
            self.project_query,
            self.project_key,
            self.project_value,
            self.project_context,
        ):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(
        self,
        query: Float[Tensor, "batch queries d_model"],
        key: Float[Tensor, "batch keys key_dim"] | None = None,
        value: Float[Tensor, "batch keys value_dim"] | None = None,
        mask: Mask | None = None,
        need: Need = "context",
        cache: KeyValueCache | None = None,
        positions: Int[Tensor, " queries"] | None = None,
    ) -> Attended:
        """Return the context [batch, queries, d_model] and, if asked, weights per head.

        key=None attends to the queries themselves, value=None reads the keys. With a cache, keys
        and values are what it remembers; a causal mask then needs the offset
        `cache.length - queries`. positions: where each query stands in its own sequence, for a
        bias on positions, rotary positions or a window; None: query i at i. A query that may meet
        nothing gets zeros, not W_o's bias.

        Raises:
            ValueError: shapes that do not fit, a bare mask, or both a key and a cache.
        """
        out, dead = self._read(query, key, value, mask, need, cache, positions)
        context = self.project_context(out.context.transpose(1, 2).flatten(2))
        if dead is not None:
            context = context.masked_fill(dead, 0)
        return out._replace(context=context)

    def by_head(
        self,
        query: Float[Tensor, "batch queries d_model"],
        key: Float[Tensor, "batch keys key_dim"] | None = None,
        value: Float[Tensor, "batch keys value_dim"] | None = None,
        mask: Mask | None = None,
        cache: KeyValueCache | None = None,
        positions: Int[Tensor, " queries"] | None = None,
    ) -> Float[Tensor, "batch heads queries d_model"]:
        """Return what each head adds to the output: c_h W_o^h, arguments as of a call.

        The sum over heads and W_o's bias are the output of the layer (but for a query that may
        meet nothing, which gets no bias). Kobayashi et al. (2020, section 3) read the norms of
        such vectors, for each key apart.
        """
        out, _ = self._read(query, key, value, mask, "context", cache, positions)
        return out.context @ self.project_context.weight.unflatten(1, (self.heads, -1)).permute(
            1, 2, 0
        )

    def without(self, heads: Iterable[int]) -> MultiHeadAttention:
        """Return a copy that has not these heads: their contexts are zero, and cost nothing.

        Parameters of each head elsewhere, as in LearnedEntmax or a bias on positions, go too. A
        mask of each head, or a cache, is then one of those left. Where unequally many heads of
        each group of kv_heads are left, the groups become smaller, and keys and values of one
        are copied for several.

        Raises:
            ValueError: a head that the layer has not, all heads, or a part that cannot follow.
        """
        from qkv.nn.pruning import without

        return without(self, heads)

    def _read(
        self,
        query: Tensor,
        key: Tensor | None,
        value: Tensor | None,
        mask: Mask | None,
        need: Need,
        cache: KeyValueCache | None,
        positions: Tensor | None,
    ) -> tuple[Attended, Tensor | None]:
        """Return each head's context, and the queries that may meet nothing in any head."""
        check_mask(mask)
        _check_input("query", query, self.project_query)
        if cache is not None:
            _check_cache(cache, key, value)
        key = query if key is None else key
        keys = key.shape[-2] if cache is None else cache.length
        seen = None
        if mask is not None:
            seen = self.attention.see(mask, (query.shape[-2], keys, 2), query.device)
        _check_heads(seen, self.heads)
        if cache is None:
            hidden = None if seen is None else _in_every_head(seen.hidden)
            cache = self._project(key, value, hidden)
        return self._attend(query, cache, None if seen is None else mask, seen, need, positions)

    def project_key_value(
        self,
        key: Float[Tensor, "batch keys key_dim"],
        value: Float[Tensor, "batch keys value_dim"] | None = None,
        *,
        mask: Mask | None = None,
    ) -> KeyValueCache:
        """Project once what many calls read: layer(query, cache=...).

        Give the padding mask here as well, and what it hides is emptied once, not at each call.
        """
        check_mask(mask)
        hidden = None
        if mask is not None:
            met = align(mask.reachable(key.shape[-2], key.device), 2, core=1)
            hidden = None if not recorded() and bool(met.all()) else _in_every_head(~met)
        return self._project(key, value, hidden)

    def extend(
        self, inputs: Float[Tensor, "batch new d_model"], cache: KeyValueCache
    ) -> KeyValueCache:
        """Remember these inputs as well: one step of self-attention, or many."""
        new = self._project(inputs, None, None, start=cache.length)
        assert new.key is not None and new.value is not None
        return cache.append(new.key, new.value)

    def start(self) -> KeyValueCache | SummedCache:
        """What causal self-attention remembers before the first position.

            attended, past = past.continued(layer, inputs)

        Linear attention remembers sums over the keys, any other the keys.
        """
        linear = isinstance(self.attention, LinearAttention)
        return SummedCache.empty(self) if linear else KeyValueCache.empty()

    def recur(
        self, inputs: Float[Tensor, "batch new d_model"], new: KeyValueCache, state: LinearState
    ) -> tuple[Attended, LinearState]:
        """Linear attention's own step: read `inputs` after the positions that are summed.

        new: their keys and values, of extend(). Returns also the sums with them.
        """
        assert isinstance(self.attention, LinearAttention)
        query = self._split(self.project_query(inputs), self.heads)
        out, state = self.attention.recur(query, *self.for_queries(new), state)
        return Attended(self.project_context(out.context.transpose(1, 2).flatten(2))), state

    def for_queries(self, cache: KeyValueCache) -> tuple[Tensor, Tensor]:
        """Return keys and values [batch, heads, keys, ...] for each head of queries."""
        assert cache.key is not None and cache.value is not None
        group = self.heads // self.kv_heads
        if group == 1:
            return cache.key, cache.value
        return cache.key.repeat_interleave(group, 1), cache.value.repeat_interleave(group, 1)

    def _project(
        self, key: Tensor, value: Tensor | None, hidden: Tensor | None, start: int = 0
    ) -> KeyValueCache:
        """Empty the hidden rows, project, and prepare the keys, which stand from `start` on."""
        value = key if value is None else value
        _check_input("key", key, self.project_key)
        _check_input("value", value, self.project_value)
        check_pairs(key, value)
        key, value = empty(key, value, hidden)
        split = self._split(self.project_key(key), self.kv_heads)
        places = None  # from 0 on
        if start:
            places = torch.arange(start, start + key.shape[-2], device=key.device)
        prepared = self.attention.prepare_rows(split, places)
        return KeyValueCache(
            prepared, self._split(self.project_value(value), self.kv_heads), hidden
        )

    def _attend(
        self,
        query: Tensor,
        cache: KeyValueCache,
        mask: Mask | None,
        seen: Visible | Tiles | None,
        need: Need,
        positions: Tensor | None,
    ) -> tuple[Attended, Tensor | None]:
        """Project the queries and attend per head."""
        key, value = self.for_queries(cache)
        dead = None if seen is None else _in_every_head(seen.dead)
        if dead is not None:
            query = query.masked_fill(dead, 0)
        if seen is not None and not cache.emptied_all(seen.hidden):
            key, value = seen.hide_columns(key), seen.hide_columns(value)
        split = self._split(self.project_query(query), self.heads)
        known = Prepared(key, value, mask, seen)
        out = self.attention.attend_rows(split, known, need=need, positions=positions)
        unseeing = _in_every_head(self.attention.unseeing(split, known, positions))
        return out, dead if unseeing is None else unseeing

    def _split(self, tensor: Tensor, heads: int) -> Float[Tensor, "batch heads time head_dim"]:
        return tensor.unflatten(-1, (heads, self.head_dim)).transpose(1, 2)


def _in_every_head(flags: Tensor | None) -> Tensor | None:
    """[batch, heads, ...] -> [batch, ...]; what comes from a mask without a batch has no heads."""
    return flags if flags is None or flags.dim() <= 2 else flags.all(1)


def _check_sizes(d_model: int, heads: int, kv_heads: int, head_dim: int | None) -> None:
    if heads < 1 or (head_dim is None and d_model % heads):
        raise ValueError(
            f"heads must divide d_model, got d_model={d_model} and heads={heads}; with head_dim "
            "there may be any number of 1 or more"
        )
    if head_dim is not None and head_dim < 1:
        raise ValueError(f"head_dim is 1 or more, got {head_dim}")
    if kv_heads < 1 or heads % kv_heads:
        raise ValueError(f"kv_heads must divide heads, got heads={heads} and kv_heads={kv_heads}")


def _check_heads(seen: Visible | Tiles | None, heads: int) -> None:
    """Refuse a mask that tells apart another number of heads."""
    if seen is None or (isinstance(seen, Visible) and seen.causal):
        return
    flags = seen.allowed if isinstance(seen, Visible) else seen.sample
    if flags.dim() > 3 and flags.shape[1] not in (1, heads):
        raise ValueError(
            f"the mask is for {flags.shape[1]} heads, the layer has {heads}: give one mask for "
            "all heads, or Mask.per_head one for each"
        )


def _check_cache(cache: KeyValueCache, key: Tensor | None, value: Tensor | None) -> None:
    if key is not None or value is not None:
        raise ValueError(
            "give either key and value, or a cache that remembers them: "
            "layer.extend(inputs, cache) adds to a cache"
        )
    if cache.length == 0:
        raise ValueError("the cache is empty: layer.extend(inputs, cache) fills it")


def _check_input(name: str, tensor: Tensor, projection: nn.Linear) -> None:
    if tensor.dim() != 3 or tensor.shape[-1] != projection.in_features:
        raise ValueError(
            f"{name} is [batch, time, {projection.in_features}], got {list(tensor.shape)}"
        )
