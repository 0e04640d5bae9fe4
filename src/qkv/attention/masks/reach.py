"""How far a mask reaches: which keys some queries may meet at all, found without drawing it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from qkv.attention.masks.pairs import tile_axis

if TYPE_CHECKING:
    from jaxtyping import Int


@dataclass(frozen=True, eq=False)
class Blocks:
    """Neighbouring queries, `size` a block; the last block may go on beyond the last query.

    leading: dimensions of batch and heads.
    """

    size: int
    queries: int
    keys: int
    leading: int
    device: torch.device

    @property
    def count(self) -> int:
        """How many blocks."""
        return -(-self.queries // self.size)

    @property
    def first(self) -> Int[Tensor, "blocks 1"]:
        """The first query of each."""
        return torch.arange(self.count, device=self.device).unsqueeze(-1) * self.size

    def reach(self, keys: Int[Tensor, "*batch blocks columns"]) -> Reach:
        """Say which keys each block may meet, each once; what is no key is left out."""
        keys = keys.masked_fill((keys < 0) | (keys >= self.keys), self.keys)
        *own, count, columns = keys.shape
        aligned = keys.reshape(*own, *(1,) * (self.leading - len(own)), count, columns)
        return Reach(aligned.movedim(-2, tile_axis(self.leading)), self.keys)


@dataclass(frozen=True, eq=False)
class Reach:
    """Which keys each block of queries may meet: perhaps more than it does, never fewer.

    keys: [batch, blocks, heads, columns], as the tiles of `Pairs`; `limit`, which is the number of
        keys, stands for no key.
    whole: queries that may meet every key; None where there are none. The others are in `keys`.
    """

    keys: Int[Tensor, "*blocks columns"]
    limit: int
    whole: Int[Tensor, " chosen"] | None = None

    @property
    def cost(self) -> int:
        """Columns of all blocks of one batch item and head."""
        blocks = self.keys.shape[tile_axis(self.keys.dim() - 2)]
        return blocks * self.keys.shape[-1]

    def __or__(self, other: Reach) -> Reach:
        """What one or the other reaches."""
        shape = torch.broadcast_shapes(self.keys.shape[:-1], other.keys.shape[:-1])
        both = [part.keys.expand(*shape, -1) for part in (self, other)]
        whole = [part.whole for part in (self, other) if part.whole is not None]
        return Reach(
            once(torch.cat(both, dim=-1), self.limit),
            self.limit,
            torch.cat(whole).unique() if whole else None,
        )


def once(keys: Int[Tensor, "*blocks columns"], limit: int) -> Int[Tensor, "*blocks fewer"]:
    """Sort each row and leave out what is there twice: a key that counted twice would be wrong."""
    ordered = keys.sort(dim=-1).values
    again = torch.zeros_like(ordered, dtype=torch.bool)
    again[..., 1:] = ordered[..., 1:] == ordered[..., :-1]
    ordered = ordered.masked_fill(again, limit).sort(dim=-1).values
    needed = int((ordered < limit).sum(-1).amax())
    return ordered[..., : max(1, needed)]
