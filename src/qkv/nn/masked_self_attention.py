"""Masked decoder self-attention (Vaswani et al. 2017, section 3.2.3, third item).

Position i of a sequence reads positions j <= i: a decoder's output may not depend on what it has
not written yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from qkv.attention import Mask
from qkv.nn.cache import KeyValueCache

if TYPE_CHECKING:
    from jaxtyping import Float

    from qkv.attention import Attended
    from qkv.attention.work import Need
    from qkv.nn.multi_head import MultiHeadAttention


class Continued(NamedTuple):
    """What was read at the new positions, and all that is to be remembered after them."""

    attended: Attended
    past: KeyValueCache


class MaskedSelfAttention(nn.Module):
    """Let each position of a sequence read itself and those before it.

    Parameters: those of its heads. All positions at once, one at a time, or some, give the same:

        decode = MaskedSelfAttention(MultiHeadAttention(d_model, heads))
        attended, past = decode(first)
        attended, past = decode(next, past)         # past.select(rows) where beams live on
    """

    def __init__(self, heads: MultiHeadAttention) -> None:
        super().__init__()
        self.heads = heads

    def forward(
        self,
        inputs: Float[Tensor, "batch new d_model"],
        past: KeyValueCache | None = None,
        *,
        mask: Mask | None = None,
        need: Need = "context",
    ) -> Continued:
        """Read at positions that follow those remembered; None: at the first ones.

        mask: what else may not be met, of these queries and all keys so far: a `Mask.lengths` of
        whole sequences, or a pattern that counts these queries from 0.
        """
        past = KeyValueCache.empty() if past is None else past
        start, stop = past.length, past.length + inputs.shape[1]
        past = self.heads.extend(inputs, past)
        causal = Mask.causal(offset=start)
        attended = self.heads(
            inputs,
            mask=causal if mask is None else causal & mask,
            need=need,
            cache=past,
            positions=torch.arange(start, stop, device=inputs.device),
        )
        return Continued(attended, past)
