"""Additive score (Bahdanau, Cho and Bengio 2015, appendix A.1.2).

    e_ij = v . tanh(W q_i + U k_j)

Differs from the paper: none by default; `bias=True` adds the b that some toolkits carry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import torch
from torch import nn

from qkv.attention.scores.score import Score, at_least_float32

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class Additive(Score):
    """Score each key with a one-layer network over query and key.

    Parameters: W [hidden, query_dim], U [hidden, key_dim], v [hidden].
    Cost: T*S*hidden tanh and multiply-adds; T*S*hidden numbers in plain torch.
    """

    family = "additive"

    def __init__(self, query_dim: int, key_dim: int, hidden: int, *, bias: bool = False) -> None:
        super().__init__()
        self.query_dim, self.key_dim = query_dim, key_dim
        self.project_query = nn.Linear(query_dim, hidden, bias=False)
        self.project_key = nn.Linear(key_dim, hidden, bias=bias)
        self.v = nn.Parameter(torch.zeros(hidden))  # attention starts uniform, as in the paper

    @classmethod
    def sized(cls, query_dim: int, key_dim: int, hidden: int) -> Self:
        """Build one; any widths."""
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
        """Return the energies e, before mask and normaliser."""
        return tanh_energies(self.project_query(query), prepared, self.v)

    def pair_cost(self, width: int) -> tuple[int, int]:
        """Add, tanh and multiply-add a dimension; one number a dimension."""
        return 4 * width, width


def tanh_energies(
    query: Float[Tensor, "*batch queries hidden"],
    key: Float[Tensor, "*batch keys hidden"],
    v: Float[Tensor, " hidden"],
) -> Float[Tensor, "*batch queries keys"]:
    """e_ij = v . tanh(query_i + key_j), for a query and key that are projected already."""
    query, key = at_least_float32(query), at_least_float32(key)
    return torch.tanh(query.unsqueeze(-2) + key.unsqueeze(-3)) @ v.to(key.dtype)
