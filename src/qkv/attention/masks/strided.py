"""Strided attention (Child et al. 2019, section 4.3): every step-th key from the query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from qkv.attention.masks.pattern import Pattern, distance, positive

if TYPE_CHECKING:
    from jaxtyping import Bool
    from torch import Tensor


@dataclass(frozen=True)
class Strided(Pattern):
    """Query i may meet key j when step divides j - i. Build it with Mask.strided.

    Differs from the paper: keys after the query too; `& Mask.causal()` takes them away.
    """

    step: int

    def __post_init__(self) -> None:
        positive("strided", "step", self.step)

    def tensor(
        self, queries: int, keys: int, device: torch.device | None = None
    ) -> Bool[Tensor, "T S"]:
        """Every step-th diagonal."""
        return distance(queries, keys, device) % self.step == 0

    def forbids_nothing(self, queries: int, keys: int) -> bool:
        """Whether there are no gaps, or nothing to fall into one."""
        return self.step == 1 or max(queries, keys) == 1

    def __repr__(self) -> str:
        return f"Mask.strided({self.step})"
