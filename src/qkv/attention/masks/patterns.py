"""Named patterns of the literature, each a composition of the others.

Where a paper gives its parts to different heads, a pattern here is their union, for one head.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from qkv.attention.masks.mask import Mask
from qkv.attention.masks.pattern import Pattern, positive

if TYPE_CHECKING:
    from jaxtyping import Bool, Int
    from torch import Tensor

    from qkv.attention.masks.reach import Blocks, Reach


def sparse_transformer_strided(stride: int) -> Mask:
    """The last `stride` keys and every stride-th one before (Child et al. 2019, section 4.3).

        causal & (window(stride, 0) | strided(stride))

    Cost: all pairs, of which it keeps T*(stride + T/(2 stride)).
    Differs from the paper: the union of its two heads, for one head.
    """
    return Mask.causal() & (Mask.window(stride, 0) | Mask.strided(stride))


def sparse_transformer_fixed(stride: int, summary: int) -> Mask:
    """One's own block, and the last `summary` keys of each (Child et al. 2019, section 4.3).

        causal & (block(stride) | j mod stride >= stride - summary)

    Cost: T*(stride + S*summary/stride) pairs.
    Differs from the paper: the union of its two heads, for one head.
    """
    return Mask.causal() & (Mask.block(stride) | Summary(stride, summary))


def longformer(side: int, positions: Iterable[int] = (0,)) -> Mask:
    """A window of `side` keys each way and global positions (Beltagy et al. 2020, section 3.1).

        window(side, side) | global_(positions)

    Cost: T*(2 side + 1) + (T + S)*positions pairs.
    Differs from the paper: no projections of their own for the global positions.
    """
    return Mask.window(side, side) | Mask.global_(positions)


def bigbird(side: int, positions: Iterable[int], count: int, seed: int = 0) -> Mask:
    """A window, global positions and `count` random keys (Zaheer et al. 2020, section 2).

        window(side, side) | global_(positions) | random(count, seed)

    Cost: T*(2 side + 1 + count) + (T + S)*positions pairs, and what their tiles hold besides.
    Differs from the paper: single positions, not blocks of them.
    """
    return Mask.window(side, side) | Mask.global_(positions) | Mask.random(count, seed)


def star_transformer(relay: int = 0) -> Mask:
    """Neighbours, and one relay that meets all (Guo et al. 2019, section 3.1).

        window(1, 1) | global_([relay])

    Cost: 3*T + (T + S) pairs.
    Differs from the paper: the ring is open, its two ends do not meet, so that it has any length.
    """
    return Mask.window(1, 1) | Mask.global_([relay])


@dataclass(frozen=True)
class Summary(Pattern):
    """Any query may meet key j when j % step >= step - count: the last `count` of each block."""

    step: int
    count: int

    def __post_init__(self) -> None:
        positive("block", "stride", self.step)
        positive("block", "summary", self.count)

    @property
    def same_for_every_query(self) -> bool:
        """Yes: only the key's position counts."""
        return True

    def rule(
        self, query: Int[Tensor, "*any T 1"], key: Int[Tensor, "*any S"], keys: int
    ) -> Bool[Tensor, "*any T S"]:
        """Whole columns."""
        met: Bool[Tensor, "*any S"] = key % self.step >= self.step - self.count
        return met

    def tensor(
        self, queries: int, keys: int, device: torch.device | None = None
    ) -> Bool[Tensor, "1 S"]:
        """One row."""
        return self.reachable(keys, device).unsqueeze(0)

    def reach(self, blocks: Blocks) -> Reach | None:
        """The same few columns for all."""
        columns = self.reachable(blocks.keys, blocks.device).nonzero().squeeze(-1)
        return blocks.reach(columns.expand(blocks.count, -1)) if len(columns) else None

    def reachable(self, keys: int, device: torch.device | None = None) -> Bool[Tensor, " keys"]:
        """The ends of the blocks."""
        return torch.arange(keys, device=device) % self.step >= self.step - self.count

    def __repr__(self) -> str:
        return f"Summary({self.step}, {self.count})"
