"""Sharpening (Graves, Wayne and Danihelka 2014, section 3.3.2, eq. 9).

    w_ij = alpha_ij^gamma_i / sum_l alpha_il^gamma_i,    gamma_i >= 1

Undoes the blur of a shift that is not certain.
Parameters: none; the exponents are given.
Cost: a power a pair.
Differs from the paper: none. The largest weight is divided out first, so that no power vanishes;
the result does not depend on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from qkv.attention.reweighters.shape import check_floating, fit

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Sharpen:
    """A value for one call: the exponents of its queries, each at least 1.

    gamma: [batch, queries] or [batch, heads, queries]; it may need a gradient. The result sums to
    1, or to 0 in a row of zeros. A weight of 0 stays 0 and gets no gradient.
    """

    gamma: Float[Tensor, "*batch queries"]

    moves_weight: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_floating("Sharpen", "gamma", "[batch, queries]", self.gamma, 1)

    def __call__(
        self, weights: Float[Tensor, "*batch queries keys"]
    ) -> Float[Tensor, "*batch queries keys"]:
        """Raise the weights to the power and let them sum to 1 again.

        Raises:
            ValueError: the exponents are for other queries.
        """
        gamma = fit("Sharpen", "gamma", self.gamma.unsqueeze(-1), weights, 1)
        largest = weights.detach().amax(-1, keepdim=True)
        empty = largest == 0
        scaled = weights / largest.masked_fill(empty, 1)
        none = scaled == 0  # 0 has no logarithm: the derivatives of its powers would be NaN
        powers = scaled.masked_fill(none, 1).pow(gamma).masked_fill(none, 0)
        return powers / powers.sum(-1, keepdim=True).masked_fill(empty, 1)
