"""Fused attention of a band, on a CPU: strided views of the keys, and no copy of them.

Some neighbouring queries and all keys of their windows are one tile. From tile to tile the keys
move on by as many as there are queries in one, so all tiles are one view of the keys, whose rows
overlap; they share one small mask. The tiles at both ends, whose windows are cut off, come apart.
The backward pass adds the gradients of the overlapping rows, tile by tile.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from qkv.attention.kernels.tiled import flash, flash_backward
from qkv.attention.kernels.twice import composed

if TYPE_CHECKING:
    from qkv.attention.masks.band import Band

FORWARD, BACKWARD = 32, 128
"""Queries a tile: torch's kernel takes 32 at a time; backward the gradients of keys that tiles
share are added, the fewer the larger the tiles (measured)."""
EDGE = 128
"""Queries a tile at the ends."""
SUMMED = 2**21
"""Numbers in the gradients of a few tiles' keys: they should be in the cache when added."""


@dataclass(frozen=True)
class Piece:
    """`count` equal tiles, of `rows` queries from `row` on and `columns` from `column` on."""

    row: int
    rows: int
    count: int
    column: int
    columns: int

    @property
    def span(self) -> slice:
        """All its queries."""
        return slice(self.row, self.row + self.rows * self.count)

    def of_queries(self, rows: Tensor) -> Tensor:
        """[heads, queries, width] -> [tiles, heads, rows, width], a view."""
        return rows[:, self.span].unflatten(1, (self.count, self.rows)).transpose(0, 1)

    def of_keys(self, rows: Tensor, start: int = 0, columns: int | None = None) -> Tensor:
        """[heads, keys, width] -> [tiles, heads, columns, width], a view whose rows overlap.

        start, columns: some of the columns alone.
        """
        columns = self.columns if columns is None else columns
        first = self.column + start
        reached = rows[:, first : first + (self.count - 1) * self.rows + columns]
        return reached.unfold(1, columns, self.rows).permute(1, 0, 3, 2)


@dataclass(frozen=True)
class Strip:
    """A band over some queries: what the kernel needs beside the tensors."""

    band: Band
    queries: int
    scale: float

    def pieces(self, end: int, size: int, most: int) -> Iterator[Piece]:
        """Cover the queries of an item with so many keys; at most so many tiles of a size."""
        band = self.band
        first, last = band.living(self.queries, end)
        inner = min(max(first, band.left), last)
        count = max(0, (min(last, end - band.right) - inner) // size)
        outer = inner + count * size
        for start, stop in ((first, inner), (outer, last)):
            for row in range(start, stop, EDGE):
                rows = min(EDGE, stop - row)
                column = max(0, row - band.left)
                yield Piece(row, rows, 1, column, min(end, row + rows + band.right) - column)
        for done in range(0, count, most):
            row = inner + done * size
            columns = size + band.left + band.right
            yield Piece(row, size, min(most, count - done), row - band.left, columns)

    def mask(self, piece: Piece, like: Tensor) -> Tensor:
        """What is added to the energies of each tile: -inf where none may meet."""
        query = torch.arange(piece.rows, device=like.device).unsqueeze(-1) + piece.row
        apart = torch.arange(piece.columns, device=like.device) + piece.column - query
        kept = (apart >= -self.band.left) & (apart <= self.band.right)
        return torch.zeros((), dtype=like.dtype).where(kept, -math.inf)[None, None]

    def ends(self, batch: int) -> tuple[int, ...]:
        """The keys of each item."""
        ends = self.band.ends
        return ends * batch if len(ends) == 1 else ends


def banded(query: Tensor, key: Tensor, value: Tensor, strip: Strip) -> tuple[Tensor, Tensor]:
    """Attend, [batch, heads, time, width]; return the context and each query's log-normaliser.

    Queries that may meet nothing get zeros and -inf. The log-normaliser has no gradient.
    """
    context, logs = _Banded.apply(query, key, value, strip)
    return context, logs


class _Banded(torch.autograd.Function):
    """Tiles as views forward, and larger ones backward."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, strip: Strip
    ) -> tuple[Tensor, Tensor]:
        batch, heads, queries, width = query.shape
        query, key, value = (_dense(tensor) for tensor in (query, key, value))
        whole = query.new_empty(batch, queries, heads, width)
        stats = torch.float64 if query.dtype == torch.float64 else torch.float32
        logs = query.new_full((batch, queries, heads), -math.inf, dtype=stats)
        for item, end in enumerate(strip.ends(batch)):
            first, last = strip.band.living(queries, end)
            whole[item, :first] = 0
            whole[item, last:] = 0
            for piece in strip.pieces(end, FORWARD, queries):
                context, normalizer = flash(
                    piece.of_queries(query[item]),
                    piece.of_keys(key[item]),
                    piece.of_keys(value[item]),
                    attn_mask=strip.mask(piece, query),
                    scale=strip.scale,
                )
                whole[item, piece.span] = context.transpose(1, 2).flatten(0, 1)
                logs[item, piece.span] = normalizer.transpose(1, 2).flatten(0, 1)
        context, normalizer = whole.transpose(1, 2), logs.transpose(1, 2)
        ctx.save_for_backward(query, key, value, context, normalizer)
        ctx.strip = strip
        ctx.mark_non_differentiable(normalizer)
        return context, normalizer

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, whole, logs = ctx.saved_tensors
        strip: Strip = ctx.strip
        if torch.is_grad_enabled():
            return (*_recorded(strip, query, key, value, gradient), None)
        gradient = _dense(gradient)
        sums = [torch.zeros_like(tensor) for tensor in (query, key, value)]
        most = max(1, SUMMED // (query.shape[1] * (BACKWARD + strip.band.width) * query.shape[3]))
        for item, end in enumerate(strip.ends(len(query))):
            for piece in strip.pieces(end, BACKWARD, most):
                found = flash_backward(
                    piece.of_queries(gradient[item]),
                    piece.of_queries(query[item]),
                    piece.of_keys(key[item]),
                    piece.of_keys(value[item]),
                    piece.of_queries(whole[item]),
                    piece.of_queries(logs[item].unsqueeze(-1)).squeeze(-1),
                    0.0,
                    False,
                    attn_mask=strip.mask(piece, query),
                    scale=strip.scale,
                )
                piece.of_queries(sums[0][item]).copy_(found[0])
                for into, part in zip(sums[1:], found[1:], strict=True):
                    _add(into[item], part, piece)
        return (*sums, None)


def _add(into: Tensor, part: Tensor, piece: Piece) -> None:
    """Add what tiles say of their keys: so many columns at a time that no two tiles share one."""
    for start in range(0, piece.columns, piece.rows):
        columns = min(piece.rows, piece.columns - start)
        piece.of_keys(into, start, columns).add_(part[:, :, start : start + columns])


def _recorded(
    strip: Strip, query: Tensor, key: Tensor, value: Tensor, gradient: Tensor
) -> tuple[Tensor | None, ...]:
    """The gradients in plain torch, so that they have gradients themselves."""
    # Views: one tensor may serve as key and value, and must get each role's gradient once.
    inputs = [tensor.view_as(tensor) for tensor in (query, key, value)]
    found, given = [], []
    for item, end in enumerate(strip.ends(len(query))):
        for piece in strip.pieces(end, FORWARD, strip.queries):
            tiles = (
                piece.of_queries(inputs[0][item]),
                piece.of_keys(inputs[1][item]),
                piece.of_keys(inputs[2][item]),
            )
            found.append(composed(tiles, strip.mask(piece, query), strip.scale))
            given.append(piece.of_queries(gradient[item]))
    if not found:
        return tuple(torch.zeros_like(tensor) for tensor in inputs)
    return torch.autograd.grad(found, inputs, given, create_graph=True, allow_unused=True)


def _dense(tensor: Tensor) -> Tensor:
    """The operators read rows of neighbouring numbers."""
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()
