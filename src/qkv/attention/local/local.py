"""What local attention is (Luong, Pham and Manning 2015, section 3.2)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple, Self

import torch
from torch import nn

from qkv.attention.masks.mask import align
from qkv.attention.masks.pattern import positive

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from qkv.attention.masks.mask import Mask
    from qkv.attention.reweighters.reweighter import Reweighter


class Placement(NamedTuple):
    """Where some queries may look: a mask, and what favours the middle of each window."""

    mask: Mask
    reweighter: Reweighter | None


class Extent(NamedTuple):
    """Which keys each batch item has: `length` of them (S in the paper) from `first` on.

    Each of as many dimensions as the query's leading ones, or none.
    """

    first: Int[Tensor, "*batch"]
    length: Int[Tensor, "*batch"]


def extent(
    mask: Mask | None, keys: int, query: Float[Tensor, "*batch queries query_dim"]
) -> Extent:
    """Find the first and the last key that the mask lets somebody meet: padding has no place.

    Hidden keys between them count, as every key stands where it stands.
    """
    if mask is None:
        return Extent(*torch.tensor([0, keys], device=query.device))
    met = align(mask.reachable(keys, query.device), query.dim() - 2, core=1)
    places = torch.arange(keys, device=query.device)
    end = (places + 1).masked_fill(~met, 0).amax(-1)
    first = places.masked_fill(~met, keys).amin(-1).minimum(end)
    return Extent(first, end - first)


class Local(nn.Module, ABC):
    """Query i reads the keys j with |j - p_i| <= D, for a position p_i. Abstract.

    Only these keys are touched: the cost is that of queries x (2 D + 1) pairs, however many keys
    there are. window: D, in keys. Where no key is in the window, the context is 0.
    """

    def __init__(self, window: int) -> None:
        super().__init__()
        positive("around", "window", window)
        self.window = window

    @classmethod
    @abstractmethod
    def sized(cls, query_dim: int, window: int) -> Self:
        """Build one for queries of this width."""

    @abstractmethod
    def forward(
        self,
        query: Float[Tensor, "*batch queries query_dim"],
        positions: Int[Tensor, " queries"],
        visible: Extent,
    ) -> Placement:
        """Place the windows.

        positions: where each query stands in its own sequence. visible: the keys of each item.
        """
