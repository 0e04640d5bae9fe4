"""What local attention is (Luong, Pham and Manning 2015, section 3.2)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple, Self

from torch import nn

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
        lengths: Int[Tensor, "*batch"],
    ) -> Placement:
        """Place the windows.

        positions: where each query stands in its own sequence. lengths: keys of each batch item,
        of as many dimensions as the query's leading ones, or none.
        """
