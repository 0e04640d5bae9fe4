"""Deep score, the alignment network with more layers (Bahdanau et al. 2015, section 3.1, eq. 6).

    h_1 = tanh(W q_i + U k_j),   h_n = tanh(W_n h_{n-1} + b_n),   e_ij = v . h_layers

Differs from the paper: there the network has one hidden layer (`layers=1`, the additive score).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.utils.checkpoint import checkpoint

from qkv.attention.scores.score import Score, at_least_float32

if TYPE_CHECKING:
    from jaxtyping import Float

MOST = 2**24
"""Numbers of a layer that are held at once; more pairs than that are scored tile after tile."""


class Deep(Score):
    """Score each key with a network of `layers` hidden layers over query and key.

    Parameters: W [hidden, query_dim], U [hidden, key_dim], for each further layer W_n
    [hidden, hidden] and b_n [hidden], v [hidden].
    Cost: T*S*hidden^2 multiply-adds a further layer. Beyond `MOST` numbers T*S*hidden, queries are
    taken some at a time, and their layers computed again backward: memory stays bounded, for one
    more forward pass.
    """

    def __init__(self, query_dim: int, key_dim: int, hidden: int, layers: int = 2) -> None:
        super().__init__()
        if layers < 1:
            raise ValueError(f"the Deep score has 1 layer or more, got layers={layers}")
        self.query_dim, self.key_dim = query_dim, key_dim
        self.project_query = nn.Linear(query_dim, hidden, bias=False)
        self.project_key = nn.Linear(key_dim, hidden, bias=False)
        self.further = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(layers - 1))
        self.v = nn.Parameter(torch.zeros(hidden))  # attention starts uniform, as in the paper

    @classmethod
    def sized(cls, query_dim: int, key_dim: int, hidden: int) -> Self:
        """Build one with two hidden layers; any widths."""
        return cls(query_dim, key_dim, hidden)

    def prepare(
        self, key: Float[Tensor, "*batch keys key_dim"]
    ) -> Float[Tensor, "*batch keys hidden"]:
        """Project the keys once; a decoder scores every step against the result."""
        return self.project_key(key)

    def forward(
        self,
        query: Float[Tensor, "*batch queries query_dim"],
        prepared: Float[Tensor, "*batch keys hidden"],
    ) -> Float[Tensor, "*batch queries keys"]:
        """Return the energies before mask and normaliser."""
        projected = self.project_query(query)
        parameters = [self.v, *self.further.parameters()]  # v, then W_n and b_n, layer by layer
        each = torch.broadcast_shapes(projected.shape[:-2], prepared.shape[:-2]).numel()
        rows = max(1, MOST // (each * prepared.shape[-2] * prepared.shape[-1]))
        if rows >= projected.shape[-2]:
            return _energies(projected, prepared, *parameters)
        energies = [
            # All that it reads is given: what the module holds may be another by then.
            checkpoint(_energies, tile, prepared, *parameters, use_reentrant=False)
            for tile in projected.split(rows, dim=-2)
        ]
        return torch.cat(energies, dim=-2)

    def pair_cost(self, width: int) -> tuple[int, int]:
        """Additive's, and a matrix a further layer; one number a dimension and layer."""
        layers = len(self.further)
        return 4 * width + layers * 2 * width * (width + 1), width * (layers + 1)

    @property
    def most_held(self) -> int:
        """A tile's layers."""
        return MOST * (len(self.further) + 1)


def _energies(projected: Tensor, prepared: Tensor, v: Tensor, *further: Tensor) -> Tensor:
    """All pairs of these queries at once."""
    layer = torch.tanh(projected.unsqueeze(-2) + prepared.unsqueeze(-3))
    for weight, bias in zip(further[::2], further[1::2], strict=True):
        layer = torch.tanh(linear(layer, weight, bias))
    return at_least_float32(layer) @ at_least_float32(v)
