"""Concat score (Luong, Pham and Manning 2015, eq. 8, third form).

    e_ij = v . tanh(W [q_i ; k_j])

W [q ; k] = W_q q + W_k k, so this is the additive score with its matrices side by side, and is
computed as such: nothing is concatenated.
Differs from the paper: not at all. Luong's start (uniform in +-0.1, section 4.1) is used for v.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import torch
from torch import nn
from torch.nn import functional as F

from qkv.attention.scores.score import AdditiveScore

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class Concat(AdditiveScore):
    """Score each key with a one-layer network over query and key, laid end to end.

    Parameters: W [hidden, query_dim + key_dim] (the query's columns first), v [hidden].
    Cost: as the additive score.
    """

    def __init__(self, query_dim: int, key_dim: int, hidden: int) -> None:
        super().__init__()
        self.query_dim, self.key_dim = query_dim, key_dim
        self.project = nn.Linear(query_dim + key_dim, hidden, bias=False)
        self.v = nn.Parameter(torch.empty(hidden).uniform_(-0.1, 0.1))

    @classmethod
    def sized(cls, query_dim: int, key_dim: int, hidden: int) -> Self:
        """Build one; any widths."""
        return cls(query_dim, key_dim, hidden)

    def prepare(
        self, key: Float[Tensor, "*batch keys key_dim"]
    ) -> Float[Tensor, "*batch keys hidden"]:
        """Multiply the keys by W's right part once."""
        return F.linear(key, self.project.weight[:, self.query_dim :].to(key.dtype))

    def to_hidden(
        self, query: Float[Tensor, "*batch queries query_dim"]
    ) -> Float[Tensor, "*batch queries hidden"]:
        """Multiply the queries by W's left part."""
        return F.linear(query, self.query_weight.to(query.dtype))

    @property
    def query_weight(self) -> Float[Tensor, "hidden query_dim"]:
        """W's left part."""
        return self.project.weight[:, : self.query_dim]
