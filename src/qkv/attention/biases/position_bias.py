"""What a bias on positions is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch
from torch import nn

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from qkv.attention.masks.pairs import Pairs


class PositionBias(nn.Module, ABC):
    """b_hij, added to the energies of head h: a function of j - i. Abstract.

    attend(query, key, bias=qkv.biases.ALiBi(heads)) asks it for the pairs that are computed;
    bias(T, S) returns it for all. Its device and dtype are those of the module: bias.to(query).
    """

    def __init__(self, heads: int) -> None:
        super().__init__()
        if heads < 1:
            raise ValueError(f"heads is 1 or more, got {heads}")
        self.heads = heads

    @abstractmethod
    def of_distance(self, distance: Int[Tensor, "*pairs"]) -> Float[Tensor, "heads ..."]:
        """Return the bias of pairs whose key stands `distance` after the query."""

    @abstractmethod
    def of_heads(self, kept: Int[Tensor, " kept"]) -> Self:
        """Return a copy for these heads alone."""

    def forward(
        self, queries: int, keys: int, offset: int = 0
    ) -> Float[Tensor, "heads queries keys"]:
        """Return the bias of all pairs. Query i stands at i + offset, as in Mask.causal."""
        device = next((t.device for t in (*self.parameters(), *self.buffers())), None)
        query, key = (torch.arange(n, device=device) for n in (queries, keys))
        return self.of_distance(key - (query.unsqueeze(-1) + offset))


@dataclass(frozen=True, eq=False)
class Placed:
    """A bias on positions, and where the queries stand: position of each; None: query i at i."""

    bias: PositionBias
    positions: Int[Tensor, " queries"] | None = None

    def dense(
        self, queries: int, keys: int, device: torch.device
    ) -> Float[Tensor, "heads queries keys"]:
        """Return the bias of all pairs."""
        places = torch.arange(queries, device=device) if self.positions is None else self.positions
        return self.bias.of_distance(torch.arange(keys, device=device) - places.unsqueeze(-1))

    def at(self, pairs: Pairs) -> Float[Tensor, "*tile rows columns"]:
        """Return the bias of some pairs; the heads are the last leading dimension."""
        query = pairs.query if self.positions is None else self.positions[pairs.query]
        distance = pairs.key - query
        axis = distance.dim() - 3
        if distance.shape[axis] == 1:
            return self.bias.of_distance(distance.squeeze(axis)).movedim(0, axis)
        own = self.bias.of_distance(distance)
        return own.diagonal(dim1=0, dim2=axis + 1).movedim(-1, axis)
