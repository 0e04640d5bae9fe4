"""Some pairs (query i, key j), in tiles: what a mask is asked where it is not drawn whole."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Bool, Int, Shaped


@dataclass(frozen=True, eq=False)
class Pairs:
    """Tiles: each is some queries, and all the keys that one of them may meet.

    The tiles stand after the batch and before the heads, [batch, tiles, heads, rows, columns]:
    heads then share a tile's mask. A single leading dimension stands after them. query and key
    have as many dimensions as that, of size 1 where they stretch; a padded query counts as the
    last one, a padded key as the first that is none (`first_real`).
    queries, keys: how many there are in all. real: False for a padded key.
    """

    query: Int[Tensor, "*tile rows 1"]
    key: Int[Tensor, "*tile 1 columns"]
    queries: int
    keys: int
    real: Bool[Tensor, "*tile 1 columns"]

    @property
    def leading(self) -> int:
        """Dimensions of batch and heads."""
        return self.query.dim() - 3

    @cached_property
    @torch.inference_mode(False)
    def distance(self) -> Int[Tensor, "*tile rows columns"]:
        """j - i."""
        return self.key - self.query

    def by_batch(self, tensor: Shaped[Tensor, "*batch"]) -> Shaped[Tensor, "*tile 1 1"]:
        """Bring one number a batch item (and head) to the tiles."""
        axes = [1] * self.query.dim()
        for n, size in enumerate(tensor.shape):
            axes[beside_tiles(n, self.leading)] = size
        return tensor.reshape(axes)

    def of_queries(self, tensor: Shaped[Tensor, "*batch queries"]) -> Shaped[Tensor, "*tile r 1"]:
        """Look up one number a query; leading dimensions are read from the left."""
        return self.lookup(tensor.unsqueeze(-1))

    def lookup(
        self, tensor: Shaped[Tensor, "*batch queries keys"], *, right: bool = False
    ) -> Shaped[Tensor, "*tile rows columns"]:
        """Look up one number a pair; sizes of 1 stretch.

        Leading dimensions are read from the left, batch first, or from the `right`, heads last.
        """
        own = tensor.dim() - 2
        skipped = self.leading - own if right else 0
        index = []
        for n, size in enumerate(tensor.shape[:-2]):
            axes = [1] * self.query.dim()
            axes[beside_tiles(n + skipped, self.leading)] = size
            index.append(torch.arange(size, device=tensor.device).reshape(axes))
        rows = self.query if tensor.shape[-2] > 1 else torch.zeros_like(self.query)
        columns = self.key if tensor.shape[-1] > 1 else torch.zeros_like(self.key)
        return tensor[(*index, rows, columns)]


def first_real(real: Bool[Tensor, "*any columns"]) -> Int[Tensor, "*any 1"]:
    """Where the first column stands that is not padded; 0 where all are."""
    return real.to(torch.uint8).argmax(-1, keepdim=True)


def tile_axis(leading: int) -> int:
    """Where the tiles stand among so many leading dimensions."""
    return 1 if leading > 1 else 0


def beside_tiles(n: int, leading: int) -> int:
    """Where the n-th leading dimension stands when the tiles are there."""
    return n if n < tile_axis(leading) else n + 1
