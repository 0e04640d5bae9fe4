"""Masks whose queries each meet one run of neighbouring keys: the windows of local attention."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from qkv.attention.masks.visible import hide

if TYPE_CHECKING:
    from jaxtyping import Bool, Int
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Runs:
    """Query i may meet the keys first_i <= j < stop_i, and these alone; it may be none.

    Leading dimensions are those of one attention; sizes of 1 stretch. most: keys of a run at most.
    keys: of all.
    """

    first: Int[Tensor, "*batch queries"]
    stop: Int[Tensor, "*batch queries"]
    most: int
    keys: int

    def meet(self, other: Runs) -> Runs:
        """The pairs that are in both."""
        return Runs(
            torch.maximum(self.first, other.first),
            torch.minimum(self.stop, other.stop),
            min(self.most, other.most),
            self.keys,
        )

    @property
    def sample(self) -> Bool[Tensor, "*batch 1 1"]:
        """A pair of each batch item and head, whose shape says how many of these the mask has."""
        return (self.first < self.stop)[..., :1, None]

    @cached_property
    def dead(self) -> Bool[Tensor, "*batch queries 1"] | None:
        """The queries that may meet nothing; None when there are none."""
        empty = self.first >= self.stop
        return empty.unsqueeze(-1) if bool(empty.any()) else None

    @cached_property
    @torch.inference_mode(False)
    def hidden(self) -> Bool[Tensor, "*batch keys"] | None:
        """The keys that no query may meet; None when there are none."""
        first, stop = torch.broadcast_tensors(self.first, self.stop)
        begin = torch.where(first < stop, first, self.keys)
        end = torch.where(first < stop, stop, self.keys)
        steps = begin.new_zeros(*begin.shape[:-1], self.keys + 1)
        one = torch.ones_like(begin)
        steps = steps.scatter_add(-1, begin, one).scatter_add(-1, end, -one)
        met = steps[..., :-1].cumsum(-1) > 0
        return None if bool(met.all()) else ~met

    def hide_rows(self, query: Tensor) -> Tensor:
        """Empty the queries that may meet nothing, so that a NaN in one reaches no gradient."""
        return query if self.dead is None else hide(query, self.dead.squeeze(-1))
