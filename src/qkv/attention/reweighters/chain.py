"""Several reweighters, one after another (Graves, Wayne and Danihelka 2014, figure 2).

    w = last(... second(first(alpha)))

The addressing of a neural Turing machine is `Chain((Interpolate(g, w), Shift(s), Sharpen(gamma)))`
over a softmax of cosines.
Parameters: none.
Cost: that of its parts.
Differs from the paper: any parts, in any order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from qkv.attention.reweighters.reweighter import Reweighter


@dataclass(frozen=True, eq=False)
class Chain:
    """A value: its parts, in the order in which they see the weights. None changes nothing."""

    parts: tuple[Reweighter, ...]

    def __post_init__(self) -> None:
        strangers = [part for part in self.parts if not callable(part)]
        if strangers:
            raise ValueError(
                f"Chain takes reweighters, such as Chain((Shift(s), Sharpen(gamma))), got "
                f"{strangers[0]!r}"
            )

    @property
    def moves_weight(self) -> bool:
        """Whether any part does."""
        return any(getattr(part, "moves_weight", False) for part in self.parts)

    def __call__(
        self, weights: Float[Tensor, "*batch queries keys"]
    ) -> Float[Tensor, "*batch queries keys"]:
        """Let each part see what the one before it left."""
        for part in self.parts:
            weights = part(weights)
        return weights
