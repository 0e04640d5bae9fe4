"""Patterns: rules on positions alone, for any number of queries and keys."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import torch

from qkv.attention.masks.mask import Mask

if TYPE_CHECKING:
    from jaxtyping import Bool, Int
    from torch import Tensor

    from qkv.attention.masks.pairs import Pairs


class Pattern(Mask):
    """A rule on i and j, without a batch. Abstract."""

    @abstractmethod
    def rule(
        self, query: Int[Tensor, "*any T 1"], key: Int[Tensor, "*any S"], keys: int
    ) -> Bool[Tensor, "*any T S"]:
        """Whether query i may meet key j, of `keys` in all."""

    @property
    def same_for_every_query(self) -> bool:
        """No: the query's position counts."""
        return False

    def tensor(
        self, queries: int, keys: int, device: torch.device | None = None
    ) -> Bool[Tensor, "T S"]:
        """The rule for every query and key."""
        query = torch.arange(queries, device=device).unsqueeze(-1)
        return self.rule(query, torch.arange(keys, device=device), keys)

    def pairs(self, pairs: Pairs) -> Bool[Tensor, "*tile rows columns"]:
        """The rule for some pairs only."""
        return self.rule(pairs.query, pairs.key, pairs.keys)

    def reachable(self, keys: int, device: torch.device | None = None) -> Bool[Tensor, " keys"]:
        """Every key: some query meets it."""
        return torch.ones(keys, dtype=torch.bool, device=device)

    def select(self, rows: Int[Tensor, " chosen"]) -> Mask:
        """Itself: it has no batch."""
        return self

    def size(self) -> tuple[int | None, int | None]:
        """Any."""
        return None, None


def positive(mask: str, name: str, number: int) -> None:
    """Refuse what is not a whole number of 1 or more."""
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise ValueError(f"Mask.{mask}: {name} is a whole number of 1 or more, got {number!r}")
