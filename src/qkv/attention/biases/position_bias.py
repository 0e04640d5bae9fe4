"""What a bias on positions is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class PositionBias(nn.Module, ABC):
    """b_hij, to be added to the energies of head h: a function of i and j. Abstract.

    Its device and dtype are those of the module: bias.to(query).
    """

    def __init__(self, heads: int) -> None:
        super().__init__()
        if heads < 1:
            raise ValueError(f"heads is 1 or more, got {heads}")
        self.heads = heads

    @abstractmethod
    def forward(
        self, queries: int, keys: int, offset: int = 0
    ) -> Float[Tensor, "heads queries keys"]:
        """Return the bias. Query i stands at i + offset, as in Mask.causal(offset)."""
