"""General score (Luong, Pham and Manning 2015, eq. 8, second form).

    e_ij = q_i . (W k_j)

Differs from the paper: not at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from torch import nn

from qkv.attention.scores.score import DotScore

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class General(DotScore):
    """Score each key by its dot product with the query after a learned map.

    Parameters: W [query_dim, key_dim].
    Cost: query_dim*key_dim multiply-adds a key, once; then as the dot score.
    """

    def __init__(self, query_dim: int, key_dim: int) -> None:
        super().__init__()
        self.query_dim, self.key_dim = query_dim, key_dim
        self.project_key = nn.Linear(key_dim, query_dim, bias=False)

    @classmethod
    def sized(cls, query_dim: int, key_dim: int, hidden: int) -> Self:
        """Build one; any widths."""
        return cls(query_dim, key_dim)

    def scale(self, width: int) -> float:
        """Return 1."""
        return 1.0

    def prepare(
        self, key: Float[Tensor, "*batch keys key_dim"]
    ) -> Float[Tensor, "*batch keys query_dim"]:
        """Map the keys once; a decoder scores every step against the result."""
        return self.project_key(key)
