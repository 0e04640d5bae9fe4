"""Scaled dot score (Vaswani et al. 2017, eq. 1).

    e_ij = q_i . k_j / sqrt(d)

The division keeps the energies' variance at 1 when the entries of q and k have variance 1.
Parameters: none.
Cost: T*S*dim multiply-adds; T*S energies, none of them kept where the fused kernel runs.
Differs from the paper: not at all.
"""

from __future__ import annotations

from typing import Self

from qkv.attention.scores.score import DotScore, same_width


class ScaledDot(DotScore):
    """Score each key by its dot product with the query over sqrt(d); no parameters."""

    has_parameters = False
    prepares = False

    @classmethod
    def sized(cls, query_dim: int, key_dim: int, hidden: int) -> Self:
        """Build one; queries and keys must have one width."""
        same_width("scaled_dot", query_dim, key_dim)
        return cls()

    def scale(self, width: int) -> float:
        """Return 1 / sqrt(width)."""
        return width**-0.5
