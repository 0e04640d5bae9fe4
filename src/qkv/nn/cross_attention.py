"""Encoder-decoder attention (Vaswani et al. 2017, section 3.2.3, first item).

Queries come from the decoder, keys and values from the encoder's output, as in Bahdanau et al.
(2015): each position of the target reads the whole source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from qkv.attention import Attended, Mask
    from qkv.attention.work import Need
    from qkv.nn.cache import KeyValueCache
    from qkv.nn.multi_head import MultiHeadAttention


@dataclass(frozen=True, eq=False)
class Memory:
    """What one CrossAttention reads: the source, projected by it once, and which of it is real."""

    projected: KeyValueCache
    mask: Mask | None = None

    def select(self, rows: Int[Tensor, " chosen"]) -> Memory:
        """Keep these batch items, in this order, repeated if they are: a row for each beam."""
        mask = None if self.mask is None else self.mask.select(rows)
        return Memory(self.projected.select(rows), mask)


class CrossAttention(nn.Module):
    """Let each position of one sequence read another one.

    Parameters: those of its heads.

        read = CrossAttention(MultiHeadAttention(d_model, heads))
        memory = read.remember(states, Mask.lengths(n))     # once per sentence
        out = read(query, memory)                           # once per decoder step
    """

    def __init__(self, heads: MultiHeadAttention) -> None:
        super().__init__()
        self.heads = heads

    def remember(
        self,
        states: Float[Tensor, "batch source key_dim"],
        mask: Mask | None = None,
    ) -> Memory:
        """Project what all queries will read. mask: the padding; it holds at every call."""
        return Memory(self.heads.project_key_value(states, mask=mask), mask)

    def forward(
        self,
        query: Float[Tensor, "batch queries d_model"],
        memory: Memory,
        *,
        need: Need = "context",
        positions: Int[Tensor, " queries"] | None = None,
    ) -> Attended:
        """Read; positions: where the queries stand in their own sequence, for local attention."""
        attended: Attended = self.heads(
            query, cache=memory.projected, mask=memory.mask, need=need, positions=positions
        )
        return attended
