"""What a reweighter is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from qkv.attention.masks.pairs import Pairs


class Reweighter(Protocol):
    """w = reweight(alpha): the weights that read the values, from those of the normaliser.

    A module, or a value made for one call. A weight of 0 must stay 0:
    so nothing is read behind a mask. One that can give weight to a key that had none says so,
    `moves_weight = True`, and is refused where a mask or a bias of -inf forbids a pair.
    """

    def __call__(
        self, weights: Float[Tensor, "*batch queries keys"]
    ) -> Float[Tensor, "*batch queries keys"]:
        """Return the new weights; they need not sum to 1."""


@runtime_checkable
class Positional(Reweighter, Protocol):
    """A reweighter that looks at each pair alone, so that it can be asked about some of them."""

    def at(self, pairs: Pairs) -> Reweighter:
        """Return the same for these tiles of pairs."""
