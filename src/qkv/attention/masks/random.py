"""Random keys (Zaheer et al. 2020, section 2): each query sees a few, wherever they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from qkv.attention.masks.pattern import Pattern, positive

if TYPE_CHECKING:
    from jaxtyping import Bool, Int
    from torch import Tensor

_LOW = 0xFFFFFFFF  # the lower 32 bits of an int64


@dataclass(frozen=True)
class Random(Pattern):
    """Query i may meet `count` keys drawn by `seed`; all where there are fewer.

    Build it with Mask.random. Each pair (i, j) has a number that depends on seed, i and j alone,
    and query i meets the keys with the `count` smallest: so a row is the same on every device and
    beside any number of queries. Pads take part in the draw.
    Differs from the paper: single keys, not blocks of them.
    """

    count: int
    seed: int = 0

    def __post_init__(self) -> None:
        positive("random", "count", self.count)
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise ValueError(f"Mask.random: seed is a whole number, got {self.seed!r}")

    def tensor(
        self, queries: int, keys: int, device: torch.device | None = None
    ) -> Bool[Tensor, "T S"]:
        """The `count` smallest numbers of each row."""
        if self.count >= keys:
            return torch.ones(queries, keys, dtype=torch.bool, device=device)
        query, key = (torch.arange(n, device=device) for n in (queries, keys))
        row = _mixed(_mixed(query + (self.seed & _LOW)) ^ (self.seed >> 32 & _LOW))
        number = _mixed(row.unsqueeze(-1) ^ _mixed(key)) * keys + key  # no two are equal
        smallest = number.topk(self.count, dim=-1, largest=False).indices
        return torch.zeros_like(number, dtype=torch.bool).scatter(-1, smallest, True)

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
