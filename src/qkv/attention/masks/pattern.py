"""Patterns: rules on positions alone, for any number of queries and keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from qkv.attention.masks.mask import Mask

if TYPE_CHECKING:
    from jaxtyping import Bool, Int
    from torch import Tensor


class Pattern(Mask):
    """A rule on i and j, without a batch. Abstract."""

    @property
    def same_for_every_query(self) -> bool:
        """No: the query's position counts."""
        return False

    def reachable(self, keys: int, device: torch.device | None = None) -> Bool[Tensor, " keys"]:
        """Every key: some query meets it."""
        return torch.ones(keys, dtype=torch.bool, device=device)

    def select(self, rows: Int[Tensor, " chosen"]) -> Mask:
        """Itself: it has no batch."""
        return self

    def size(self) -> tuple[int | None, int | None]:
        """Any."""
        return None, None


def distance(queries: int, keys: int, device: torch.device | None) -> Int[Tensor, "T S"]:
    """j - i."""
    return torch.arange(keys, device=device) - torch.arange(queries, device=device).unsqueeze(-1)


def positive(mask: str, name: str, number: int) -> None:
    """Refuse what is not a whole number of 1 or more."""
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise ValueError(f"Mask.{mask}: {name} is a whole number of 1 or more, got {number!r}")
