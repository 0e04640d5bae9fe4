"""Encoder self-attention (Vaswani et al. 2017, section 3.2.3, second item).

Queries, keys and values are one sequence; each position reads all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from jaxtyping import Float

    from qkv.attention import Attended, Mask
    from qkv.attention.work import Need
    from qkv.nn.multi_head import MultiHeadAttention


class SelfAttention(nn.Module):
    """Let each position of a sequence read the sequence.

    Parameters: those of its heads.

        encode = SelfAttention(MultiHeadAttention(d_model, heads))
        out = encode(inputs, Mask.lengths(n))
    """

    def __init__(self, heads: MultiHeadAttention) -> None:
        super().__init__()
        self.heads = heads

    def forward(
        self,
        inputs: Float[Tensor, "batch time d_model"],
        mask: Mask | None = None,
        *,
        need: Need = "context",
    ) -> Attended:
        """Read; see `MultiHeadAttention`. mask: such as the padding, Mask.lengths(n)."""
        attended: Attended = self.heads(inputs, mask=mask, need=need)
        return attended
