"""A mask drawn for one attention: what every kernel needs to know about it, found once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from qkv.attention.masks.mask import align
from qkv.attention.recorded import recorded

if TYPE_CHECKING:
    from jaxtyping import Bool, Int

    from qkv.attention.masks.mask import Mask


@dataclass(frozen=True)
class Triangle:
    """The pairs with j <= i, of as many queries as keys: who knows the rule needs no tensor."""

    size: int
    device: torch.device

    @cached_property
    def drawn(self) -> Bool[Tensor, "T keys"]:
        """The tensor all the same."""
        return torch.ones(self.size, self.size, dtype=torch.bool, device=self.device).tril()


@dataclass(frozen=True, eq=False)
class Visible:
    """Which pairs may meet, in the leading dimensions of one attention.

    pairs: the rule, or `allowed` as a tensor.
    dead: the dead rows; None when there are none.
    hidden: keys that no query may meet; None when there are none.
    """

    pairs: Triangle | Bool[Tensor, "*batch T keys"]
    dead: Bool[Tensor, "*batch T 1"] | None
    hidden: Bool[Tensor, "*batch keys"] | None

    @property
    def causal(self) -> bool:
        """Whether query i meets the keys j <= i, exactly."""
        return isinstance(self.pairs, Triangle)

    @property
    def allowed(self) -> Bool[Tensor, "*batch T keys"]:
        """True = may meet.

        A dead row, one that may meet nothing, is opened here, so that no kernel meets a row
        without a finite energy; what comes out of it is replaced by zeros.
        """
        return self.pairs.drawn if isinstance(self.pairs, Triangle) else self.pairs

    def select(self, rows: Int[Tensor, " chosen"]) -> Visible:
        """The same for these batch items."""
        if isinstance(self.pairs, Triangle):
            return self
        allowed, dead, hidden = (
            part if part is None or part.dim() < least or part.shape[0] == 1 else part[rows]
            for part, least in ((self.allowed, 3), (self.dead, 3), (self.hidden, 2))
        )
        assert allowed is not None
        return Visible(allowed, dead, hidden)

    def hide_rows(self, query: Tensor) -> Tensor:
        """Empty the queries that may meet nothing, so that a NaN in one reaches no gradient."""
        return query if self.dead is None else query.masked_fill(_fit(self.dead, query), 0)

    def hide_columns(self, key: Tensor) -> Tensor:
        """Empty the keys or values that nobody may meet: 0 * NaN is NaN, so they are replaced."""
        return key if self.hidden is None else hide(key, self.hidden)


def drawn(
    mask: Mask, queries: int, keys: int, leading: int, device: torch.device
) -> Visible | None:
    """Draw the mask for queries and keys with this many leading dimensions; None: all may meet."""
    if mask.forbids_nothing(queries, keys):
        return None
    if mask.triangular(queries, keys):
        return Visible(Triangle(queries, device), None, None)
    keep = align(mask.tensor(queries, keys, device), leading)
    return visible(keep.expand(*keep.shape[:-1], keys))


def visible(keep: Bool[Tensor, "*batch T keys"]) -> Visible | None:
    """Find the dead rows and hidden columns of a drawn mask; None when it forbids nothing."""
    if recorded():
        living = keep.any(-1, keepdim=True)
        return Visible(keep | ~living, ~living, ~keep.any(-2))
    flags = keep.view(torch.uint8)  # bytes are reduced ten times faster than booleans
    if flags.amin().item():
        return None
    living = flags.amax(-1, keepdim=True)
    met = flags.amax(-2)
    dead = None if living.amin().item() else living == 0
    hidden = None if met.amin().item() else met == 0
    return Visible(keep if dead is None else keep | dead, dead, hidden)


def hide(rows: Tensor, hidden: Bool[Tensor, "*batch rows"]) -> Tensor:
    """Replace the hidden rows of [..., rows, dim] by zeros, forward and backward."""
    return rows.masked_fill(_fit(hidden.unsqueeze(-1), rows), 0)


def _fit(flags: Tensor, rows: Tensor) -> Tensor:
    """Reduce flags over leading dimensions that `rows` shares: hidden only if hidden in all."""
    for axis in range(-flags.dim(), -2):
        if rows.shape[axis] == 1 and flags.shape[axis] > 1:
            flags = flags.all(axis, keepdim=True)
    return flags
