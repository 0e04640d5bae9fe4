"""The k largest of many numbers, faster than torch's topk where they are thousands."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

_FEW = 2**15  # numbers below which one topk starts faster than the passes end
_BLOCK = 64  # measured best of 16 to 128 on a CPU, for vocabularies of 8,000 and 32,000


def largest(
    x: Float[Tensor, "*batch n"], k: int
) -> tuple[Float[Tensor, "*batch k"], Int[Tensor, "*batch k"]]:
    """Return the k largest values of each row and where they are, in falling order.

    The k largest numbers lie in the k blocks whose largest number is largest; finding those takes
    one pass of maxima, and leaves k blocks to rank. Two to four times faster than one topk.
    """
    n = x.shape[-1]
    if k == 1:
        values, index = x.max(-1, keepdim=True)
        return values, index
    if n < 4 * k * _BLOCK or x.numel() < _FEW:
        values, index = x.topk(k)
        return values, index
    whole = n - n % _BLOCK
    blocked = x[..., :whole].unflatten(-1, (-1, _BLOCK))
    blocks = blocked.amax(-1).topk(k).indices
    inside = blocked.gather(-2, blocks.unsqueeze(-1).expand(*blocks.shape, _BLOCK)).flatten(-2)
    values, position = torch.cat([inside, x[..., whole:]], dim=-1).topk(k)
    block = blocks.gather(-1, position.div(_BLOCK, rounding_mode="floor").clamp(max=k - 1))
    index = torch.where(
        position < k * _BLOCK,
        block * _BLOCK + position % _BLOCK,
        position - k * _BLOCK + whole,
    )
    return values, index
