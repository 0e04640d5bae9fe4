"""Additive score (Bahdanau, Cho and Bengio 2015, appendix A.1.2).

    e_ij = v . tanh(W q_i + U k_j)

Differs from the paper: none by default; `bias=True` adds the b that some toolkits carry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import torch
from torch import nn

from qkv.attention.scores.score import AdditiveScore

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class Additive(AdditiveScore):
    """Score each key with a one-layer network over query and key.

    Parameters: W [hidden, query_dim], U [hidden, key_dim], v [hidden].
    Cost: T*S*hidden tanh and multiply-adds; see kernels/additive for what they become.
    """

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

    def to_hidden(
        self, query: Float[Tensor, "*batch queries query_dim"]
    ) -> Float[Tensor, "*batch queries hidden"]:
        """Project the queries."""
        return self.project_query(query)

    @property
    def query_weight(self) -> Float[Tensor, "hidden query_dim"]:
        """W."""
        return self.project_query.weight
