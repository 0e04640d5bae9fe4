"""Random keys (Zaheer et al. 2020, section 2): each query sees a few, wherever they are.

    j in draw(seed, i, S),   count keys, none of them twice

Cost: only the tiles of queries and keys that may meet are computed: the draws of
neighbouring queries, all against all of their block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from qkv.attention.masks.pattern import Pattern, positive
from qkv.attention.masks.reach import once

if TYPE_CHECKING:
    from jaxtyping import Bool, Int
    from torch import Tensor

    from qkv.attention.masks.reach import Blocks, Reach

_LOW = 0xFFFFFFFF  # the lower 32 bits of an int64


@dataclass(frozen=True)
class Random(Pattern):
    """Query i may meet `count` keys drawn by `seed`; all where there are fewer.

    Build it with Mask.random. Query i draws from seed, i and the number of keys alone (Floyd's
    sampling, `count` steps, each from a hash): so a row is the same on every device and beside any
    number of queries. Pads take part in the draw.
    Differs from the paper: single keys, not blocks of them.
    """

    count: int
    seed: int = 0

    def __post_init__(self) -> None:
        positive("random", "count", self.count)
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise ValueError(f"Mask.random: seed is a whole number, got {self.seed!r}")

    def rule(
        self, query: Int[Tensor, "*any T 1"], key: Int[Tensor, "*any S"], keys: int
    ) -> Bool[Tensor, "*any T S"]:
        """The keys that each row drew."""
        met = torch.zeros_like(query == key)
        for drawn in self.draw_keys(query, keys):
            met |= drawn == key
        return met

    def reach(self, blocks: Blocks) -> Reach | None:
        """The draws of a block's queries."""
        if blocks.size * self.count >= blocks.keys:
            return None
        rows = blocks.first + torch.arange(blocks.size, device=blocks.device)
        drawn = torch.cat(self.draw_keys(rows, blocks.keys), dim=-1)
        return blocks.reach(once(drawn, blocks.keys))

    def draw_keys(self, query: Int[Tensor, "*any"], keys: int) -> list[Int[Tensor, "*any"]]:
        """Return each query's first, second, ... draw; no two are equal (Floyd's sampling).

        The n-th draw is from the first keys - count + n + 1 keys; one drawn before gives way to
        the last of these, which could not be drawn until now.
        """
        row = _mixed(_mixed(query + (self.seed & _LOW)) ^ (self.seed >> 32 & _LOW))
        drawn: list[Int[Tensor, "*any"]] = []
        for last in range(max(0, keys - self.count), keys):
            key = (_mixed(row ^ _mixed(torch.full_like(row, last))) * (last + 1)) >> 32
            for earlier in tuple(drawn):
                key = torch.where(key == earlier, last, key)
            drawn.append(key)
        return drawn

    def forbids_nothing(self, queries: int, keys: int) -> bool:
        """Whether there are no more keys than each query meets."""
        return self.count >= keys

    def __repr__(self) -> str:
        return f"Mask.random({self.count}, {self.seed})"


def _mixed(number: Int[Tensor, "*any"]) -> Int[Tensor, "*any"]:
    """Scatter 32-bit numbers one to one (the "lowbias32" hash of C. Wellons)."""
    number = number & _LOW
    number = (number ^ (number >> 16)) * 0x7FEB352D & _LOW
    number = (number ^ (number >> 15)) * 0x846CA68B & _LOW
    return number ^ (number >> 16)
