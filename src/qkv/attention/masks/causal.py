"""The causal mask (Vaswani et al. 2017, section 3.2.3): no query sees what comes after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from qkv.attention.masks.mask import Mask

if TYPE_CHECKING:
    from jaxtyping import Bool, Int
    from torch import Tensor


@dataclass(frozen=True)
class Causal(Mask):
    """Query i may meet key j when j <= i + offset. Build it with Mask.causal."""

    offset: int = 0

    @property
    def same_for_every_query(self) -> bool:
        """No: later queries see more."""
        return False

    def tensor(
        self, queries: int, keys: int, device: torch.device | None = None
    ) -> Bool[Tensor, "T S"]:
        """A lower triangle, shifted by the offset."""
        last = torch.arange(queries, device=device).unsqueeze(-1) + self.offset
        return torch.arange(keys, device=device) <= last

    def forbids_nothing(self, queries: int, keys: int) -> bool:
        """Whether the first query already sees the last key."""
        return self.offset >= keys - 1

    def reachable(self, keys: int, device: torch.device | None = None) -> Bool[Tensor, " keys"]:
        """Every key: some query comes late enough."""
        return torch.ones(keys, dtype=torch.bool, device=device)

    def select(self, rows: Int[Tensor, " chosen"]) -> Mask:
        """Itself: it has no batch."""
        return self

    def size(self) -> tuple[int | None, int | None]:
        """Any."""
        return None, None

    def __repr__(self) -> str:
        return f"Mask.causal({self.offset})" if self.offset else "Mask.causal()"
