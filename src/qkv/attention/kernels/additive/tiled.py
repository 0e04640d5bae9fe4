"""The additive energies and their gradients in plain torch, a tile at a time, on any device.

    tanh(a + b) = 1 - 2 r,   r = 1 / (1 + exp(2a) exp(2b)),   d tanh = 4 r (1 - r)

A tile is as large as the cache likes, and its memory is used again for the next.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from qkv.attention.kernels.additive.ranges import centre

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxtyping import Bool, Float
    from torch import Tensor

TILE = 2**19
"""Numbers of a tile on a CPU: two megabytes of float32 stay in the caches (measured)."""
LARGE_TILE = 2**24
"""Elsewhere: enough to fill a device."""


def energies(
    a: Float[Tensor, "items queries hidden"],
    b: Float[Tensor, "items keys hidden"],
    v: Float[Tensor, " hidden"],
    allowed: Bool[Tensor, "items queries keys"] | None,
) -> Float[Tensor, "items queries keys"]:
    """Return v . tanh(a + b); tiles whose pairs are all forbidden are left out, as zeros."""
    tiles = _Tiles(a, b)
    out = a.new_zeros(a.shape[0], a.shape[1], b.shape[1])
    whole, twice = v.sum(), -2 * v
    for tile in tiles:
        if allowed is None or a.device.type != "cpu" or bool(allowed[tile].any()):
            ratios = tiles.ratios(tile)
            energies = torch.addmv(whole, ratios.view(-1, v.shape[0]), twice)
            out[tile] = energies.view(ratios.shape[:-1])
    return out


def gradients(
    a: Float[Tensor, "items queries hidden"],
    b: Float[Tensor, "items keys hidden"],
    v: Float[Tensor, " hidden"],
    g: Float[Tensor, "items queries keys"],
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of a, b and v for g, that of the energies."""
    tiles = _Tiles(a, b)
    to_a, to_b, to_r = torch.zeros_like(a), torch.zeros_like(b), torch.zeros_like(v)
    for tile in tiles:
        items, rows, columns = tile
        some = g[tile]
        if a.device.type == "cpu" and not bool(some.any()):
            continue
        r = tiles.ratios(tile)
        to_r += some.reshape(-1) @ r.view(-1, r.shape[-1])
        r.addcmul_(r, r, value=-1).mul_(some.unsqueeze(-1))
        to_a[items, rows] += r.sum(2)
        to_b[items, columns] += r.sum(1)
    scale = 4 * v
    return to_a.mul_(scale), to_b.mul_(scale), g.sum() - 2 * to_r


class _Tiles:
    """The tiles of one attention, and r = 1 / (1 + exp(2(a + b))) of each.

    centred: whether a and b are kept as exponentials; each pair takes its own where not.
    """

    def __init__(self, a: Tensor, b: Tensor) -> None:
        found = centre(a, b)
        self.centred = found is not None
        if found is not None:
            a = (a + found.shift).clamp_(-found.limit, found.limit).mul_(2).exp_()
            b = (b - found.shift).clamp_(-found.limit, found.limit).mul_(2).exp_()
        self.a, self.b = a.unsqueeze(2), b.unsqueeze(1)
        (items, queries, hidden), keys = a.shape, b.shape[1]
        room = TILE if a.device.type == "cpu" else LARGE_TILE
        side = max(1, math.isqrt(room // hidden))
        self.rows = min(queries, max(side, room // (hidden * keys)))
        self.columns = min(keys, max(1, room // (hidden * self.rows)))
        self.items = min(items, max(1, room // (hidden * self.rows * self.columns)))
        self.space = a.new_empty(self.items * self.rows * self.columns * hidden)
        self.one = a.new_ones(())

    def __iter__(self) -> Iterator[tuple[slice, slice, slice]]:
        """Some items, some of their queries, some of their keys."""
        steps = self.items, self.rows, self.columns
        totals = self.a.shape[0], self.a.shape[1], self.b.shape[2]
        for n in range(0, totals[0], steps[0]):
            for i in range(0, totals[1], steps[1]):
                for j in range(0, totals[2], steps[2]):
                    yield tuple(
                        slice(at, min(at + step, total))
                        for at, step, total in zip((n, i, j), steps, totals, strict=True)
                    )  # type: ignore[misc]

    def ratios(self, tile: tuple[slice, slice, slice]) -> Tensor:
        """R of a tile, in memory that the next tile takes over."""
        items, rows, columns = tile
        a, b = self.a[items, rows], self.b[items, :, columns]
        shape = *a.shape[:2], *b.shape[2:]
        out = self.space[: math.prod(shape)].view(shape)
        if self.centred:
            return torch.addcmul(self.one, a, b, out=out).reciprocal_()
        return torch.add(a, b, out=out).mul_(-2).sigmoid_()
