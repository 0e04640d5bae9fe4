"""Linear attention as a module: the value that a model holds, with the calls of Attention."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Literal

from torch import nn

from qkv.attention.linear.functional import CHUNK, checked, filled, linear_attend
from qkv.attention.linear.prepared import attend, continued, prepare
from qkv.attention.masks.visible import drawn
from qkv.attention.weights_of import WeightsOf

if TYPE_CHECKING:
    import torch
    from jaxtyping import Float, Int
    from torch import Tensor

    from qkv.attention.linear.features.feature_map import FeatureMap
    from qkv.attention.linear.prepared import PreparedLinear
    from qkv.attention.linear.state import LinearState
    from qkv.attention.masks.mask import Mask
    from qkv.attention.masks.visible import Visible
    from qkv.attention.prepared import Prepared
    from qkv.attention.result import Attended
    from qkv.attention.work import Need


class LinearAttention(nn.Module):
    """linear_attend() with its features built: a name and the width, or an object.

    Holds features, never data. There are no weights to drop, so it has no dropout.

        attention = LinearAttention(features="positive_random", dim=16)
        prepared = attention.prepare(key, mask=Mask.lengths(n))     # once per sentence
        out = attention.attend(query, prepared)                     # once per decoder step
    """

    def __init__(
        self, *, features: str | FeatureMap = "elu", dim: int | None = None, chunk: int = CHUNK
    ) -> None:
        super().__init__()
        self.features = filled(features, dim)
        self.chunk = checked(chunk)

    def forward(
        self,
        query: Float[Tensor, "*batch queries dim"],
        key: Float[Tensor, "*batch keys dim"],
        value: Float[Tensor, "*batch keys value_dim"] | None = None,
        *,
        mask: Mask | None = None,
        need: Literal["context", "weights", "stats"] = "context",
    ) -> Attended:
        """Ask all queries at once; see linear_attend()."""
        return linear_attend(
            query, key, value, features=self.features, mask=mask, need=need, chunk=self.chunk
        )

    def prepare(
        self,
        key: Float[Tensor, "batch *heads keys dim"],
        value: Float[Tensor, "batch *heads keys value_dim"] | None = None,
        *,
        mask: Mask | None = None,
    ) -> PreparedLinear:
        """Do once what every query shares: hide, map and sum the keys.

        With a causal mask the sums are taken at each attend() instead. A decoder that reads its
        own outputs keeps a `LinearState`.
        """
        return prepare(self.features, key, value, mask)

    def attend(
        self,
        query: Float[Tensor, "batch *heads queries dim"],
        prepared: PreparedLinear,
        *,
        need: Literal["context", "weights", "stats"] = "context",
    ) -> Attended:
        """Ask some queries: one decoder step, or a beam's hypotheses side by side."""
        return attend(query, prepared, need, self.chunk)

    def recur(
        self,
        query: Float[Tensor, "batch *heads new dim"],
        key: Float[Tensor, "batch *heads new dim"],
        value: Float[Tensor, "batch *heads new value_dim"],
        state: LinearState,
    ) -> tuple[Attended, LinearState]:
        """Let each query read the keys up to its own and all that are summed, and sum these too.

        One query costs the same however many keys there have been.
        """
        after = state.append(key, value)
        if query.shape[-2] == 1:
            return after.read(query), after
        return continued(query, key, value, state, self.chunk), after

    def see(self, mask: Mask, sizes: tuple[int, int, int], device: torch.device) -> Visible | None:
        """Draw a mask for queries, keys and leading dimensions: what it hides is emptied."""
        return drawn(mask, *sizes, device)

    def prepare_rows(
        self,
        key: Float[Tensor, "*batch keys dim"],
        positions: Int[Tensor, " keys"] | None = None,
    ) -> Float[Tensor, "*batch keys dim"]:
        """Keep keys for a cache as they are: sums have no positions."""
        return key

    def of_heads(self, kept: Int[Tensor, " kept"]) -> LinearAttention:
        """Return a copy: the features are shared by the heads."""
        return copy.deepcopy(self)

    def attend_rows(
        self,
        query: Float[Tensor, "batch *heads queries dim"],
        rows: Prepared,
        *,
        need: Need = "context",
        positions: Int[Tensor, " queries"] | None = None,
    ) -> Attended:
        """Ask what a cache holds: its keys are mapped and summed at each call."""
        asked = "weights" if isinstance(need, WeightsOf) else need
        out: Attended = self(query, rows.key, rows.value, mask=rows.mask, need=asked)
        if not isinstance(need, WeightsOf) or out.weights is None:
            return out
        need.check(out.weights.shape[:-2], out.weights.shape[-2])
        return out._replace(weights=need.of(out.weights))

    def unseeing(
        self,
        query: Float[Tensor, "batch *heads queries dim"],
        rows: Prepared,
        positions: Int[Tensor, " queries"] | None = None,
    ) -> None:
        """Which queries have no key in their window: it has no windows."""
