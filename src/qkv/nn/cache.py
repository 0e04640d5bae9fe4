"""What a multi-head layer remembers between decoding steps: a value, not a state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from qkv.attention import Mask
from qkv.attention.recorded import recorded

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

    from qkv.attention import Attended
    from qkv.nn.multi_head import MultiHeadAttention


@dataclass(frozen=True, eq=False)
class KeyValueCache:
    """Projected keys and values, one row a position. Every method returns a new cache.

    key: as the layer's score wants it; value. Both None when nothing is remembered yet.
    emptied: rows that were known to be met by no query, and emptied before they were projected.
    """

    key: Float[Tensor, "batch heads keys width"] | None = None
    value: Float[Tensor, "batch heads keys head_dim"] | None = None
    emptied: Bool[Tensor, "*batch keys"] | None = None

    @staticmethod
    def empty() -> KeyValueCache:
        """A cache that remembers nothing."""
        return KeyValueCache()

    @property
    def length(self) -> int:
        """How many positions are remembered."""
        return 0 if self.key is None else self.key.shape[-2]

    def append(
        self,
        key: Float[Tensor, "batch heads new width"],
        value: Float[Tensor, "batch heads new head_dim"],
    ) -> KeyValueCache:
        """Remember these as well, after what is there."""
        if self.key is None or self.value is None:
            return KeyValueCache(key, value)
        return KeyValueCache(
            torch.cat([self.key, key], dim=-2), torch.cat([self.value, value], dim=-2)
        )

    def continued(
        self, layer: MultiHeadAttention, inputs: Float[Tensor, "batch new d_model"]
    ) -> tuple[Attended, KeyValueCache]:
        """Let each new position read itself and all before it; return also what is remembered."""
        past = layer.extend(inputs, self)
        places = torch.arange(self.length, past.length, device=inputs.device)
        causal = Mask.causal(offset=self.length)
        return layer(inputs, cache=past, mask=causal, positions=places), past

    def select(self, rows: Int[Tensor, " chosen"]) -> KeyValueCache:
        """Keep these batch items, in this order, repeated if they are: beams that live on."""
        if self.key is None or self.value is None:
            return self
        emptied = self.emptied
        if emptied is not None and emptied.dim() > 1 and emptied.shape[0] > 1:
            emptied = emptied[rows]
        return KeyValueCache(self.key[rows], self.value[rows], emptied)

    def emptied_all(self, hidden: Bool[Tensor, "*batch keys"] | None) -> bool:
        """Whether all these rows (per head, if 3-D) are empty already, so that none can harm."""
        if hidden is None or self.emptied is None:
            return hidden is None
        if recorded():
            return False
        emptied = self.emptied.unsqueeze(-2) if hidden.dim() > 1 else self.emptied
        return not bool((hidden & ~emptied).any())

    def state_dict(self) -> dict[str, Tensor]:
        """The tensors by name; nothing when empty."""
        if self.key is None or self.value is None:
            return {}
        state = {"key": self.key, "value": self.value}
        return state if self.emptied is None else {**state, "emptied": self.emptied}

    @staticmethod
    def from_state_dict(state: Mapping[str, Tensor]) -> KeyValueCache:
        """The cache that `state_dict` described."""
        if not state:
            return KeyValueCache()
        return KeyValueCache(state["key"], state["value"], state.get("emptied"))
