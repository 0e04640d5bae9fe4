"""What a normaliser is."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self

from torch import nn

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


class Normalized(NamedTuple):
    """The weights and what the normaliser knows about them; None for what it has not.

    log_prob: of the position drawn; log_distribution: of each position that could be drawn. Both
    of normalisers that draw one, and differentiable.
    """

    weights: Float[Tensor, "*batch queries keys"]
    log_normalizer: Float[Tensor, "*batch queries"] | None = None
    log_prob: Float[Tensor, "*batch queries"] | None = None
    log_distribution: Float[Tensor, "*batch queries keys"] | None = None


class Normalizer(nn.Module, ABC):
    """alpha = normalize(e), row by row. Abstract.

    A forbidden pair comes as -inf and must get weight 0. Every row that comes has at least one
    finite energy: rows that may attend to nothing are taken care of by the caller.

    draws: whether it draws positions while training, without a gradient through the draw: the
    energies then learn only from the `stats` (see Normalized).
    """

    name: str
    draws: ClassVar[bool] = False
    has_parameters: ClassVar[bool] = False

    @classmethod
    def sized(cls, heads: int, alpha: float | None, temperature: float) -> Self:
        """Build one from what a config says; each takes what it has."""
        return cls()

    @abstractmethod
    def forward(
        self, energies: Float[Tensor, "*batch queries keys"], *, stats: bool
    ) -> Normalized:
        """Return the weights; with `stats`, also the log-normaliser where there is one."""

    def of_heads(self, kept: Int[Tensor, " kept"]) -> Self:
        """Return a copy for these heads alone; most normalisers are the same in every head."""
        return copy.deepcopy(self)
