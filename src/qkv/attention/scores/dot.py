"""Dot score (Luong, Pham and Manning 2015, eq. 8, first form).

    e_ij = q_i . k_j

Parameters: none.
Cost: T*S*dim multiply-adds; T*S energies, none of them kept where the fused kernel runs.
Differs from the paper: not at all.
"""

from __future__ import annotations

from typing import Self

from qkv.attention.scores.score import DotScore, same_width


class Dot(DotScore):
    """Score each key by its dot product with the query; no parameters."""

    has_parameters = False
    prepares = False

    @classmethod
    def sized(cls, query_dim: int, key_dim: int, hidden: int) -> Self:
        """Build one; queries and keys must have one width."""
        same_width("dot", query_dim, key_dim)
        return cls()

    def scale(self, width: int) -> float:
        """Return 1."""
        return 1.0
