"""Any boolean tensor as a mask, in either convention (no paper).

    allowed[i, j]   (Mask.keep(t): allowed = t,   Mask.drop(t): allowed = not t)

Cost: all pairs, and the tensor itself.
Differs from the paper: there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from qkv.attention.masks.mask import Mask

if TYPE_CHECKING:
    from jaxtyping import Bool, Int

    from qkv.attention.masks.pairs import Pairs


@dataclass(frozen=True, eq=False)
class Keep(Mask):
    """Query i may meet key j where `allowed` is True. Build it with Mask.keep or Mask.drop."""

    allowed: Bool[Tensor, "*batch queries keys"]

    @property
    def same_for_every_query(self) -> bool:
        """Whether the tensor has one row for all queries."""
        return self.allowed.shape[-2] == 1

    def tensor(
        self, queries: int, keys: int, device: torch.device | None = None
    ) -> Bool[Tensor, "*batch T S"]:
        """The tensor itself, when its size fits.

        Raises:
            ValueError: it is neither this size nor 1.
        """
        rows, columns = self.allowed.shape[-2:]
        if rows not in (1, queries) or columns not in (1, keys):
            raise ValueError(
                f"the mask is for {rows} queries and {columns} keys, the attention has {queries} "
                f"and {keys}. A padding mask [batch, keys] needs a dimension for the queries: "
                "Mask.keep(mask[:, None, :]), or say Mask.lengths(n)"
            )
        return self.allowed.to(device)

    def pairs(self, pairs: Pairs) -> Bool[Tensor, "*tile rows columns"]:
        """The tensor's numbers at these pairs."""
        return pairs.lookup(self.tensor(pairs.queries, pairs.keys, pairs.query.device))

    def reachable(
        self, keys: int, device: torch.device | None = None
    ) -> Bool[Tensor, "*batch keys"]:
        """The keys that have a True in their column."""
        return self.tensor(self.allowed.shape[-2], keys, device).any(-2)

    def select(self, rows: Int[Tensor, " chosen"]) -> Mask:
        """The mask of these batch items."""
        shared = self.allowed.dim() == 2 or self.allowed.shape[0] == 1
        return self if shared else Keep(self.allowed[rows.to(self.allowed.device)])

    def size(self) -> tuple[int | None, int | None]:
        """The tensor's last two dimensions; None where it stretches."""
        rows, columns = self.allowed.shape[-2:]
        return (None if rows == 1 else rows), (None if columns == 1 else columns)

    def __repr__(self) -> str:
        return f"Mask.keep({list(self.allowed.shape)})"


def keep(tensor: Bool[Tensor, "*batch queries keys"]) -> Keep:
    """True = may attend."""
    return Keep(_boolean("keep", tensor))


def drop(tensor: Bool[Tensor, "*batch queries keys"]) -> Keep:
    """True = may not attend."""
    return Keep(~_boolean("drop", tensor))


def _boolean(name: str, tensor: Tensor) -> Tensor:
    if not isinstance(tensor, Tensor) or tensor.dtype != torch.bool:
        kind = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
        raise ValueError(
            f"Mask.{name} takes a boolean tensor, got {kind}: compare or convert it first "
            f"(Mask.{name}(t.bool()) for zeros and ones); numbers to add to the energies are a "
            "bias, not a mask: attend(..., bias=t)"
        )
    if tensor.dim() < 2:
        raise ValueError(
            f"Mask.{name} takes [..., queries, keys], got {list(tensor.shape)}; a mask over keys "
            f"alone is Mask.{name}(t[None, :])"
        )
    return tensor
