"""Some heads of many: what belongs to each head, cut out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from jaxtyping import Int, Shaped


def keep_heads(
    tensor: Shaped[Tensor, "*axes"], kept: Int[Tensor, " kept"], axis: int
) -> Shaped[Tensor, "*fewer"]:
    """Copy the entries of these heads along an axis; a parameter stays one, without gradient."""
    chosen = tensor.detach().index_select(axis, kept.to(tensor.device))
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(chosen, requires_grad=tensor.requires_grad)
    return chosen
