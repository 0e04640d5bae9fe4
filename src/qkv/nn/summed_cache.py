"""What a layer with linear attention remembers between decoding steps: sums, of one size for good.

Step i costs as much as step 1 (Katharopoulos et al. 2020, section 3.4).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from qkv.attention import LinearAttention, LinearState, Mask
from qkv.nn.cache import KeyValueCache

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from qkv.attention import Attended
    from qkv.nn.multi_head import MultiHeadAttention


@dataclass(frozen=True, eq=False)
class SummedCache:
    """The sums over the keys of some positions, and the rows of positions not summed yet.

    Those read first, all at once, are left as rows: training never asks for their sums.
    length: how many positions are remembered.
    """

    state: LinearState
    rows: KeyValueCache
    length: int = 0

    @staticmethod
    def empty(layer: MultiHeadAttention) -> SummedCache:
        """A cache that remembers nothing; layer: with linear attention."""
        assert isinstance(layer.attention, LinearAttention)
        weight = layer.project_key.weight
        state = LinearState.empty(
            layer.attention.features,
            key_dim=layer.head_dim,
            value_dim=layer.head_dim,
            dtype=weight.dtype,
            device=weight.device,
        )
        return SummedCache(state, KeyValueCache.empty())

    def continued(
        self, layer: MultiHeadAttention, inputs: Float[Tensor, "batch new d_model"]
    ) -> tuple[Attended, SummedCache]:
        """Let each new position read itself and all before it; return also what is remembered."""
        new = layer.extend(inputs, KeyValueCache.empty())
        if self.length == 0:
            attended = layer(inputs, cache=new, mask=Mask.causal())
            return attended, replace(self, rows=new, length=new.length)
        attended, state = layer.recur(inputs, new, self._summed(layer))
        return attended, SummedCache(state, KeyValueCache.empty(), self.length + new.length)

    def select(self, rows: Int[Tensor, " chosen"]) -> SummedCache:
        """Keep these batch items, in this order, repeated if they are: beams that live on."""
        return replace(self, state=self.state.select(rows), rows=self.rows.select(rows))

    def _summed(self, layer: MultiHeadAttention) -> LinearState:
        """The sums over all that is remembered."""
        if self.rows.length == 0:
            return self.state
        return self.state.append(*layer.for_queries(self.rows))
