"""Fused attention tile by tile, on a CPU: nothing is kept but the result and its log-normaliser.

The forward pass gathers the keys of a few tiles at a time and lets torch's fused kernel read them;
the backward pass gathers them again (Dao et al. 2022, algorithm 4, does so with its blocks).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from qkv.attention.kernels.twice import composed

if TYPE_CHECKING:
    from qkv.attention.masks.visible import Visible
    from qkv.attention.tiles import Tile

flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
GATHERED = 2**20
"""Numbers gathered at a time, of keys: they should still be in the cache when they are read."""


@dataclass(frozen=True, eq=False)
class SharedTiles:
    """Tiles that differ in their columns, not by batch item or head.

    columns: [tiles, columns]. seen: what may meet, [batch or 1, tiles, heads or 1, rows, columns];
    None: everything. bias: added to the energies, of such a size, without a gradient.
    """

    tile: Tile
    columns: Tensor
    seen: Visible | None
    bias: Tensor | None
    scale: float

    def parts(self, key: Tensor) -> Iterator[slice]:
        """A few tiles at a time."""
        one = key.shape[0] * key.shape[1] * self.columns.shape[1] * key.shape[3]
        step = max(1, GATHERED // one)
        for start in range(0, len(self.columns), step):
            yield slice(start, start + step)

    def rows(self, query: Tensor) -> Tensor:
        """[batch, heads, queries, width] -> [batch, tiles, heads, rows, width]."""
        rows = self.tile.of_queries(query)
        return rows if self.seen is None else self.seen.hide_rows(rows)

    def gather(self, rows: Tensor, part: slice) -> Tensor:
        """[batch, heads, keys, width] -> [batch x tiles, heads, columns, width]."""
        columns = self.columns[part]
        found = rows.index_select(2, columns.flatten()).unflatten(2, columns.shape)
        found = found.transpose(1, 2)
        if self.seen is not None and self.seen.hidden is not None:
            hidden = self.seen.hidden[:, part].unsqueeze(-1)
            if bool(hidden.any()):
                found = found.masked_fill(hidden, 0)
        return found.flatten(0, 1)

    def scatter(self, into: Tensor, found: Tensor, part: slice) -> None:
        """Add gradients of what was gathered to where it came from."""
        columns = self.columns[part]
        found = found.unflatten(0, (into.shape[0], len(columns)))
        if self.seen is not None and self.seen.hidden is not None:
            found = found.masked_fill(self.seen.hidden[:, part].unsqueeze(-1), 0)
        into.index_add_(2, columns.flatten(), found.transpose(1, 2).flatten(2, 3))

    def mask(self, part: slice, batch: int, dtype: torch.dtype) -> Tensor | None:
        """What is added to the energies of these tiles: the bias, and -inf where none may meet."""
        if self.seen is None and self.bias is None:
            return None
        added = torch.zeros((), dtype=dtype) if self.bias is None else self.bias[:, part].to(dtype)
        if self.seen is not None:
            added = torch.where(self.seen.allowed[:, part], added, -math.inf)
        return added.expand(batch, *added.shape[1:]).flatten(0, 1)

    def dead(self, part: slice) -> Tensor | None:
        """The rows of these tiles that may meet nothing."""
        if self.seen is None or self.seen.dead is None:
            return None
        return self.seen.dead[:, part]


def tiled(query: Tensor, key: Tensor, value: Tensor, blocks: SharedTiles) -> Tensor:
    """Attend: [batch, heads, queries, width] each, to [batch, tiles, heads, rows, width]."""
    context: Tensor = _Tiled.apply(query, key, value, blocks)
    return context


class _Tiled(torch.autograd.Function):
    """Tiles forward, and the same tiles again backward."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, blocks: SharedTiles
    ) -> Tensor:
        rows = blocks.rows(query)
        contexts, normalizers = [], []
        for part in blocks.parts(key):
            context, normalizer = flash(
                rows[:, part].flatten(0, 1),
                blocks.gather(key, part),
                blocks.gather(value, part),
                attn_mask=blocks.mask(part, len(query), query.dtype),
                scale=blocks.scale,
            )
            context = context.unflatten(0, (len(query), -1))
            dead = blocks.dead(part)
            contexts.append(context if dead is None else context.masked_fill(dead, 0))
            normalizers.append(normalizer)
        whole = torch.cat(contexts, dim=1)
        ctx.save_for_backward(query, key, value, whole, *normalizers)
        ctx.blocks = blocks
        return whole

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, whole, *normalizers = ctx.saved_tensors
        blocks: SharedTiles = ctx.blocks
        if torch.is_grad_enabled():
            return (*_recorded(blocks, query, key, value, gradient), None)
        rows = blocks.rows(query)
        by_query = torch.zeros_like(rows)
        by_key, by_value = torch.zeros_like(key), torch.zeros_like(value)
        for part, normalizer in zip(blocks.parts(key), normalizers, strict=True):
            dead = blocks.dead(part)
            given = gradient[:, part] if dead is None else gradient[:, part].masked_fill(dead, 0)
            found = flash_backward(
                given.flatten(0, 1),
                rows[:, part].flatten(0, 1),
                blocks.gather(key, part),
                blocks.gather(value, part),
                whole[:, part].flatten(0, 1),
                normalizer,
                0.0,
                False,
                attn_mask=blocks.mask(part, len(query), query.dtype),
                scale=blocks.scale,
            )
            by_query[:, part] = found[0].unflatten(0, (len(query), -1))
            blocks.scatter(by_key, found[1], part)
            blocks.scatter(by_value, found[2], part)
        return blocks.tile.back(by_query), by_key, by_value, None


def _recorded(
    blocks: SharedTiles, query: Tensor, key: Tensor, value: Tensor, gradient: Tensor
) -> tuple[Tensor | None, ...]:
    """The gradients in plain torch, all tiles at once, so that they have gradients themselves."""
    # Views: one tensor may serve as key and value, and must get each role's gradient once.
    inputs = [tensor.view_as(tensor) for tensor in (query, key, value)]
    every = slice(0, len(blocks.columns))
    rows = blocks.rows(inputs[0]).flatten(0, 1)
    keys, values = (blocks.gather(tensor, every) for tensor in inputs[1:])
    context = composed(
        (rows, keys, values), blocks.mask(every, len(query), query.dtype), blocks.scale
    )
    context = context.unflatten(0, (len(query), -1))
    dead = blocks.dead(every)
    if dead is not None:
        context = context.masked_fill(dead, 0)
    return torch.autograd.grad(context, inputs, gradient, create_graph=True, allow_unused=True)


def fused(
    given: tuple[Tensor, ...], mask: Tensor | None, scale: float, causal: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return what scaled_dot_product_attention returns, and the log-normaliser of each query.

    And the mask as it was added.
    """
    if mask is not None and mask.dtype == torch.bool:
        mask = torch.zeros((), dtype=given[0].dtype).where(mask, -math.inf)
    if mask is not None and mask.dim() == 2:
        mask = mask[None, None]
    context, logs = flash(*given, is_causal=causal, attn_mask=mask, scale=scale)
    return context, logs, mask


@cache
@torch.inference_mode(False)  # the first call may come from a search, which records nothing
@torch.enable_grad()
def available() -> bool:
    """Whether torch's private operators are there and do what their public face does."""
    try:
        query, key, value = (
            torch.linspace(start, start + 1, 24).sin().reshape(1, 1, 6, 4).requires_grad_()
            for start in (0.0, 2.0, 4.0)
        )
        mask = torch.where(torch.ones(6, 6).tril().bool(), 0.0, -math.inf)
        wanted = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=0.7)
        gradient = torch.ones_like(wanted)
        gradients = torch.autograd.grad(wanted.sum(), (query, key, value))
        with torch.no_grad():
            given = [tensor.detach() for tensor in (query, key, value)]
            found, normalizer = flash(*given, attn_mask=mask, scale=0.7)
            back = flash_backward(
                gradient, *given, found, normalizer, 0.0, False, attn_mask=mask, scale=0.7
            )
        pairs = zip((found, *back), (wanted.detach(), *gradients), strict=True)
        return all(bool((a - b).abs().amax() < 1e-5) for a, b in pairs)
    except (AttributeError, RuntimeError, TypeError):
        return False
