"""Cosine score with a key strength (Graves, Wayne and Danihelka 2014, eqs. 5 and 6).

    e_ij = beta q_i . k_j / (|q_i| |k_j|)

Differs from the paper: beta is a fixed number; a vector of zeros has no direction, and scores 0.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

import torch

from qkv.attention.scores.score import DotScore, at_least_float32, same_width

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class Cosine(DotScore):
    """Score each key by the cosine of its angle with the query, times beta; no parameters."""

    has_parameters = False

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__()
        if not math.isfinite(beta):
            raise ValueError(f"beta is a finite number, got {beta}")
        self.beta = beta

    @classmethod
    def sized(cls, query_dim: int, key_dim: int, hidden: int) -> Self:
        """Build one; queries and keys must have one width."""
        same_width("cosine", query_dim, key_dim)
        return cls()

    def scale(self, width: int) -> float:
        """Return beta."""
        return self.beta

    def project_query(
        self, query: Float[Tensor, "*batch queries width"]
    ) -> Float[Tensor, "*batch queries width"]:
        """Give the query length 1."""
        return _unit(query)

    def prepare(
        self, key: Float[Tensor, "*batch keys width"]
    ) -> Float[Tensor, "*batch keys width"]:
        """Give the keys length 1."""
        return _unit(key)


def _unit(vector: Float[Tensor, "*any width"]) -> Float[Tensor, "*any width"]:
    """x / |x|, and 0 for 0, with finite derivatives.

    The largest entry is divided out first, so that no square overflows or vanishes; the result
    does not depend on it, so it needs no gradient.
    """
    wide = at_least_float32(vector)
    largest = wide.detach().abs().amax(-1, keepdim=True)
    none = largest < torch.finfo(wide.dtype).tiny
    wide = wide / torch.where(none, 1.0, largest)
    squares = wide.square().sum(-1, keepdim=True)
    return (wide / torch.where(none, 1.0, squares).sqrt()).to(vector.dtype)
