"""A dilated window (Beltagy, Peters and Cohan 2020, section 3.1): a window with gaps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from qkv.attention.masks.pattern import Pattern, distance, positive

if TYPE_CHECKING:
    from jaxtyping import Bool
    from torch import Tensor


@dataclass(frozen=True)
class Dilated(Pattern):
    """Query i may meet key j = i + m * step, -width <= m <= width. Build it with Mask.dilated.

    Differs from the paper: `width` counts the keys of one side, not of both.
    """

    width: int
    step: int

    def __post_init__(self) -> None:
        positive("dilated", "width", self.width)
        positive("dilated", "step", self.step)

    def tensor(
        self, queries: int, keys: int, device: torch.device | None = None
    ) -> Bool[Tensor, "T S"]:
        """Every step-th diagonal near the middle one."""
        apart = distance(queries, keys, device)
        return (apart.abs() <= self.width * self.step) & (apart % self.step == 0)

    def forbids_nothing(self, queries: int, keys: int) -> bool:
        """Whether nothing is too far, and nothing falls in a gap."""
        farthest = max(queries, keys) - 1
        return farthest == 0 or (self.step == 1 and farthest <= self.width)

    def __repr__(self) -> str:
        return f"Mask.dilated({self.width}, {self.step})"
