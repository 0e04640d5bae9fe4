"""How a reweighter's tensors meet the weights of a call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from qkv.attention.masks.mask import align

if TYPE_CHECKING:
    from jaxtyping import Float


def check_floating(name: str, part: str, shape: str, given: object, least: int) -> None:
    """Refuse what is not a floating-point tensor of at least so many dimensions.

    Raises:
        ValueError: saying what was given and which shape is meant.
    """
    if not (isinstance(given, Tensor) and given.is_floating_point() and given.dim() >= least):
        found = (
            f"{given.dtype} {list(given.shape)}"
            if isinstance(given, Tensor)
            else type(given).__name__
        )
        raise ValueError(f"{name} takes {part} as a floating-point tensor {shape}, got {found}")


def fit(
    name: str,
    part: str,
    given: Float[Tensor, "*batch queries own"],
    weights: Float[Tensor, "*batch queries keys"],
    own: int,
) -> Float[Tensor, "*aligned queries own"]:
    """Read leading dimensions from the left, as a mask's; sizes are equal or 1.

    own: the size of the last dimension: 1, the number of keys, or that of the shifts.

    Raises:
        ValueError: the tensor is for other weights.
    """
    if given.dim() <= weights.dim():
        aligned = align(given, weights.dim() - 2)
        wanted = (*weights.shape[:-1], own)
        pairs = list(zip(reversed(aligned.shape), reversed(wanted), strict=False))
        if aligned.shape[-1] == own and all(size in (1, full) for size, full in pairs):
            return aligned.to(weights.dtype)
    raise ValueError(
        f"{name}'s {part} {list(given.shape)} does not fit weights {list(weights.shape)}: its "
        f"leading dimensions are [batch, queries] or [batch, heads, queries], each the weights' "
        f"size or 1"
    )
