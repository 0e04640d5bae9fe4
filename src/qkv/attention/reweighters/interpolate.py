"""Interpolation with the weights of the step before (Graves et al. 2014, section 3.3.2, eq. 7).

    w_i = g_i alpha_i + (1 - g_i) previous_i

g = 0 ignores the content and keeps the place; g = 1 forgets it.
Parameters: none; gates and weights are given.
Cost: a multiply-add a pair.
Differs from the paper: none; each query has a gate of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from qkv.attention.reweighters.shape import check_floating, fit

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Interpolate:
    """A value for one call: the gates, and the weights of the step before.

    gate: in [0, 1], [batch, queries] or [batch, heads, queries]; previous: the same and [keys].
    Both may need a gradient. The sum of the weights is kept where previous has it too.
    """

    gate: Float[Tensor, "*batch queries"]
    previous: Float[Tensor, "*batch queries keys"]

    moves_weight: ClassVar[bool] = True
    """previous may lie on any key."""

    def __post_init__(self) -> None:
        check_floating("Interpolate", "gate", "[batch, queries]", self.gate, 1)
        check_floating("Interpolate", "previous", "[batch, queries, keys]", self.previous, 2)

    def __call__(
        self, weights: Float[Tensor, "*batch queries keys"]
    ) -> Float[Tensor, "*batch queries keys"]:
        """Mix the weights with the previous ones.

        Raises:
            ValueError: the gate or the previous weights are for other queries or keys.
        """
        gate = fit("Interpolate", "gate", self.gate.unsqueeze(-1), weights, 1)
        previous = fit("Interpolate", "previous", self.previous, weights, weights.shape[-1])
        return previous + gate * (weights - previous)
