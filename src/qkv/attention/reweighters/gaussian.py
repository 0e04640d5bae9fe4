"""Luong's Gaussian (Luong, Pham and Manning 2015, eq. 10): favour keys near a position.

    w_ij = alpha_ij exp(-(j - p_i)^2 / (2 sigma^2))

Not renormalised: where alpha lies far from p_i, little is read at all.
Parameters: none; the positions are given.
Cost: an exponential and a product a pair.
Differs from the paper: any sigma; the paper's is half of its window, D / 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from qkv.attention.masks.mask import align

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float

    from qkv.attention.masks.pairs import Pairs
    from qkv.attention.reweighters.reweighter import Reweighter


@dataclass(frozen=True, eq=False)
class Gaussian:
    """A value for one call: the positions that its queries point at. Positions count from 0.

    positions: [batch, queries], or [batch, heads, queries]; sizes are equal or 1. They may need a
    gradient.
    """

    positions: Float[Tensor, "*batch queries"]
    sigma: float

    def __post_init__(self) -> None:
        given = self.positions
        if not (isinstance(given, Tensor) and given.is_floating_point() and given.dim() >= 1):
            kind = given.dtype if isinstance(given, Tensor) else type(given).__name__
            raise ValueError(
                "Gaussian takes positions as a floating-point tensor [batch, queries], one for "
                f"each query, got {kind}"
            )
        if not 0 < self.sigma < math.inf:
            raise ValueError(f"sigma is a finite number above 0, got {self.sigma}")

    def __call__(
        self, weights: Float[Tensor, "*batch queries keys"]
    ) -> Float[Tensor, "*batch queries keys"]:
        """Multiply each weight by its key's closeness.

        Raises:
            ValueError: the positions are for other queries.
        """
        positions = self.of_rows(weights.shape[:-1], weights.dtype)
        keys = torch.arange(weights.shape[-1], device=weights.device, dtype=weights.dtype)
        return weights * self._closeness(keys - positions.unsqueeze(-1))

    def at(self, pairs: Pairs) -> Reweighter:
        """Return the same for these tiles of pairs.

        Raises:
            ValueError: the positions are for other queries.
        """
        if self.positions.dim() > pairs.leading + 1 or self.positions.shape[-1] not in (
            1,
            pairs.queries,
        ):
            raise ValueError(
                f"Gaussian's positions {list(self.positions.shape)} do not fit {pairs.queries} "
                "queries: they are [batch, queries] or [batch, heads, queries]"
            )
        closeness = self._closeness(pairs.key - pairs.of_queries(self.positions))
        return lambda weights: weights * closeness.to(weights.dtype)

    def of_rows(self, shape: Sequence[int], dtype: torch.dtype) -> Float[Tensor, "*batch queries"]:
        """Return the positions for queries of this shape, [*batch, queries]; sizes may be 1.

        Raises:
            ValueError: the positions are for other queries.
        """
        if self.positions.dim() <= len(shape):
            positions = align(self.positions, len(shape) - 1, core=1).to(dtype)
            pairs = zip(reversed(positions.shape), reversed(shape), strict=False)
            if all(size in (1, wanted) for size, wanted in pairs):
                return positions
        raise ValueError(
            f"Gaussian's positions {list(self.positions.shape)} do not fit {list(shape)} queries: "
            "they are [batch, queries] or [batch, heads, queries]"
        )

    def _closeness(self, apart: Tensor) -> Tensor:
        return torch.exp(-apart.square() / (2 * self.sigma**2))
