"""Masks composed: both rules, either rule, the opposite rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from qkv.attention.masks.mask import Mask, align

if TYPE_CHECKING:
    from jaxtyping import Bool, Int

    from qkv.attention.masks.band import Band
    from qkv.attention.masks.pairs import Pairs
    from qkv.attention.masks.reach import Blocks, Reach
    from qkv.attention.masks.runs import Runs


@dataclass(frozen=True)
class _Pair(Mask):
    """Two rules. Abstract."""

    left: Mask
    right: Mask

    def __post_init__(self) -> None:
        for part in (self.left, self.right):
            if not isinstance(part, Mask):
                raise ValueError(
                    f"masks combine with masks, got {type(part).__name__}: wrap a tensor in "
                    "Mask.keep (True = may attend) or Mask.drop (True = may not)"
                )

    @property
    def same_for_every_query(self) -> bool:
        """Whether both look at the key alone."""
        return self.left.same_for_every_query and self.right.same_for_every_query

    def longer_than(self, keys: int) -> tuple[int, int] | None:
        """The first one's, or else the second one's."""
        return self.left.longer_than(keys) or self.right.longer_than(keys)

    def size(self) -> tuple[int | None, int | None]:
        """The larger of what the two speak of."""
        queries, keys = zip(self.left.size(), self.right.size(), strict=True)
        return _larger(queries), _larger(keys)


@dataclass(frozen=True)
class And(_Pair):
    """Both rules allow it: `left & right`."""

    def tensor(
        self, queries: int, keys: int, device: torch.device | None = None
    ) -> Bool[Tensor, "*batch T S"]:
        """Where both are True."""
        left, right = (m.tensor(queries, keys, device) for m in (self.left, self.right))
        return torch.logical_and(*_same_rank(left, right, core=2))

    def pairs(self, pairs: Pairs) -> Bool[Tensor, "*tile rows columns"]:
        """Where both are True."""
        return self.left.pairs(pairs) & self.right.pairs(pairs)

    def reach(self, blocks: Blocks) -> Reach | None:
        """As far as the one that reaches less far."""
        left, right = self.left.reach(blocks), self.right.reach(blocks)
        if left is None or right is None:
            return right if left is None else left
        return min(left, right, key=lambda reach: reach.cost)

    def forbids_nothing(self, queries: int, keys: int) -> bool:
        """Whether neither rule forbids anything."""
        return self.left.forbids_nothing(queries, keys) and self.right.forbids_nothing(
            queries, keys
        )

    def band(self, queries: int, keys: int) -> Band | None:
        """The pairs of both bands."""
        left, right = self.left.band(queries, keys), self.right.band(queries, keys)
        return None if left is None or right is None else left.meet(right)

    def runs(self, queries: int, keys: int, leading: int, device: torch.device) -> Runs | None:
        """What both runs share."""
        left = self.left.runs(queries, keys, leading, device)
        right = None if left is None else self.right.runs(queries, keys, leading, device)
        return None if left is None or right is None else left.meet(right)

    def triangular(self, queries: int, keys: int) -> bool:
        """Whether one rule is that, and the other is as well or forbids nothing."""
        return any(
            one.triangular(queries, keys)
            and (other.triangular(queries, keys) or other.forbids_nothing(queries, keys))
            for one, other in ((self.left, self.right), (self.right, self.left))
        )

    def reachable(
        self, keys: int, device: torch.device | None = None
    ) -> Bool[Tensor, "*batch keys"]:
        """Keys that both can reach: perhaps no single query reaches them by both."""
        left, right = (m.reachable(keys, device) for m in (self.left, self.right))
        return torch.logical_and(*_same_rank(left, right, core=1))

    def select(self, rows: Int[Tensor, " chosen"]) -> Mask:
        """Both parts' batch items."""
        return And(self.left.select(rows), self.right.select(rows))

    def __repr__(self) -> str:
        return f"({self.left!r} & {self.right!r})"


@dataclass(frozen=True)
class Or(_Pair):
    """One rule allows it: `left | right`."""

    def tensor(
        self, queries: int, keys: int, device: torch.device | None = None
    ) -> Bool[Tensor, "*batch T S"]:
        """Where one is True."""
        left, right = (m.tensor(queries, keys, device) for m in (self.left, self.right))
        return torch.logical_or(*_same_rank(left, right, core=2))

    def pairs(self, pairs: Pairs) -> Bool[Tensor, "*tile rows columns"]:
        """Where one is True."""
        return self.left.pairs(pairs) | self.right.pairs(pairs)

    def reach(self, blocks: Blocks) -> Reach | None:
        """As far as both together."""
        left, right = self.left.reach(blocks), self.right.reach(blocks)
        return None if left is None or right is None else left | right

    def forbids_nothing(self, queries: int, keys: int) -> bool:
        """Whether one rule forbids nothing."""
        return self.left.forbids_nothing(queries, keys) or self.right.forbids_nothing(
            queries, keys
        )

    def reachable(
        self, keys: int, device: torch.device | None = None
    ) -> Bool[Tensor, "*batch keys"]:
        """Keys that one can reach."""
        left, right = (m.reachable(keys, device) for m in (self.left, self.right))
        return torch.logical_or(*_same_rank(left, right, core=1))

    def select(self, rows: Int[Tensor, " chosen"]) -> Mask:
        """Both parts' batch items."""
        return Or(self.left.select(rows), self.right.select(rows))

    def __repr__(self) -> str:
        return f"({self.left!r} | {self.right!r})"


@dataclass(frozen=True)
class Not(Mask):
    """The rule forbids it: `~mask`."""

    mask: Mask

    @property
    def same_for_every_query(self) -> bool:
        """As the rule that is turned round."""
        return self.mask.same_for_every_query

    def tensor(
        self, queries: int, keys: int, device: torch.device | None = None
    ) -> Bool[Tensor, "*batch T S"]:
        """Where the rule is False."""
        return ~self.mask.tensor(queries, keys, device)

    def pairs(self, pairs: Pairs) -> Bool[Tensor, "*tile rows columns"]:
        """Where the rule is False."""
        return ~self.mask.pairs(pairs)

    def reachable(
        self, keys: int, device: torch.device | None = None
    ) -> Bool[Tensor, "*batch keys"]:
        """Known when the rule looks at the key alone; any key otherwise."""
        if self.same_for_every_query:
            return self.tensor(1, keys, device).squeeze(-2)
        return torch.ones(keys, dtype=torch.bool, device=device)

    def select(self, rows: Int[Tensor, " chosen"]) -> Mask:
        """The opposite for these batch items."""
        return Not(self.mask.select(rows))

    def longer_than(self, keys: int) -> tuple[int, int] | None:
        """As the rule that is turned round."""
        return self.mask.longer_than(keys)

    def size(self) -> tuple[int | None, int | None]:
        """As the rule that is turned round."""
        return self.mask.size()

    def __repr__(self) -> str:
        return f"~{self.mask!r}"


def _same_rank(left: Tensor, right: Tensor, core: int) -> tuple[Tensor, Tensor]:
    leading = max(left.dim(), right.dim()) - core
    return align(left, leading, core), align(right, leading, core)


def _larger(sizes: tuple[int | None, ...]) -> int | None:
    return max((size for size in sizes if size is not None), default=None)
