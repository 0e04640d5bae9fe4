"""What a mask means to a sum over keys that all queries share: which keys, and up to which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from qkv.attention.checks import check_mask
from qkv.attention.masks.causal import Causal
from qkv.attention.masks.combine import And
from qkv.attention.masks.mask import align

if TYPE_CHECKING:
    from jaxtyping import Bool
    from torch import Tensor

    from qkv.attention.masks.mask import Mask


@dataclass(frozen=True, eq=False)
class Rule:
    """Query i meets key j when keep[j], and j <= i + offset.

    keep: None for all keys. offset: None when every query meets the same keys.
    """

    keep: Bool[Tensor, "*batch keys"] | None = None
    offset: int | None = None

    def narrowed(self, queries: int, keys: int, device: torch.device) -> Rule:
        """The same, without the keys after the last one that the last query meets."""
        if self.offset is None or self.offset + queries >= keys:
            return self
        reached = torch.arange(keys, device=device) < self.offset + queries
        return Rule(reached if self.keep is None else self.keep & reached, self.offset)

    def dead(self, queries: int, device: torch.device) -> Bool[Tensor, "*batch queries 1"] | None:
        """The queries that meet nothing; None when that is plain without looking."""
        if self.keep is None and (self.offset is None or self.offset >= 0):
            return None
        if self.offset is None:
            assert self.keep is not None
            return ~self.keep.any(-1, keepdim=True).unsqueeze(-1)
        last = torch.arange(queries, device=device) + self.offset  # that each query meets
        if self.keep is None:
            return (last < 0).unsqueeze(-1)
        first = self.keep.byte().argmax(-1, keepdim=True)
        return ((last < first) | ~self.keep.any(-1, keepdim=True)).unsqueeze(-1)

    def pairs(self, queries: int, keys: int, device: torch.device) -> Bool[Tensor, "T S"]:
        """Which pairs the offset allows; [1, 1] when all."""
        if self.offset is None:
            return torch.ones(1, 1, dtype=torch.bool, device=device)
        return Causal(self.offset).tensor(queries, keys, device)


def read(mask: Mask | None, keys: int, leading: int, device: torch.device) -> Rule:
    """Take a mask apart into keys and a causal offset.

    leading: how many dimensions stand before [keys, dim].

    Raises:
        ValueError: the mask lets different queries meet different keys in any other way.
    """
    check_mask(mask)
    rule = Rule()
    for part in () if mask is None else _parts(mask):
        if part.same_for_every_query:
            drawn = align(part.tensor(1, keys, device), leading).squeeze(-2)
            keep = drawn.expand(*drawn.shape[:-1], keys)
            rule = Rule(keep if rule.keep is None else rule.keep & keep, rule.offset)
        elif isinstance(part, Causal):
            offset = part.offset if rule.offset is None else min(rule.offset, part.offset)
            rule = Rule(rule.keep, offset)
        else:
            raise ValueError(
                f"linear attention cannot follow the mask {part!r}: its sum over keys is shared "
                "by all queries, so they must meet the same keys (Mask.lengths, a keep or drop "
                "mask with one row for all queries) or ever more of them (Mask.causal), or both "
                "(&). For any other mask attend with a score: "
                "qkv.attend(query, key, value, mask=mask)"
            )
    return rule


def _parts(mask: Mask) -> list[Mask]:
    """The masks that are joined by &."""
    if isinstance(mask, And) and not mask.same_for_every_query:
        return _parts(mask.left) + _parts(mask.right)
    return [mask]
