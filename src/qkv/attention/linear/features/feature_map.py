"""What a feature map is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self

from torch import nn

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class Mapped(NamedTuple):
    """phi(x) = features * exp(log_scale), one scale a row.

    The scale is kept apart, so that large exponents neither overflow nor drown one another. It is
    a constant to the gradient, which reaches phi through the features alone.
    """

    features: Float[Tensor, "*batch time width"]
    log_scale: Float[Tensor, "*batch time 1"]


class FeatureMap(nn.Module, ABC):
    """phi(x) > 0: the similarity of q and k is phi(q) . phi(k). Abstract.

    Row by row: phi(x_j) depends on x_j alone, or a later key would change an earlier answer.
    needs_dim: False for those that a bare name is enough to build.
    dim: the width of x it was built for; None for any.
    draw: which draw of its random numbers this is: sums of another one's features mean nothing.
    """

    needs_dim: ClassVar[bool] = True
    dim: int | None = None
    draw: int = 0

    @classmethod
    @abstractmethod
    def sized(cls, dim: int) -> Self:
        """Build one for queries and keys of this width."""

    @abstractmethod
    def width(self, dim: int) -> int:
        """How many features a row of this width gets."""

    @abstractmethod
    def forward(self, x: Float[Tensor, "*batch time dim"]) -> Mapped:
        """Map each row; x is float32 or float64."""
