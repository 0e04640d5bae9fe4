"""Location score (Luong, Pham and Manning 2015, eq. 8, the location-based form below it).

    e_ij = (W q_i)_j

The query alone says where to look; what stands there has no say.
Differs from the paper: a softmax over the sentence's own positions, not cut from a longer one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import torch
from torch import nn

from qkv.attention.scores.score import Score, at_least_float32

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from qkv.attention.masks.pairs import Pairs

_MAX_KEYS = 512  # where only a name is given, as in a config


class Location(Score):
    """Score the j-th key by the query's j-th output; more than max_keys keys are refused.

    Parameters: W [max_keys, query_dim].
    Cost: T*max_keys*query_dim multiply-adds; no key is read.
    """

    def __init__(self, query_dim: int, max_keys: int) -> None:
        super().__init__()
        self.query_dim, self.max_keys = query_dim, max_keys
        self.project_query = nn.Linear(query_dim, max_keys, bias=False)

    @classmethod
    def sized(cls, query_dim: int, key_dim: int, hidden: int) -> Self:
        """Build one for up to 512 keys; any widths."""
        return cls(query_dim, _MAX_KEYS)

    def prepare(self, key: Float[Tensor, "*batch keys key_dim"]) -> Float[Tensor, "*batch keys 1"]:
        """Keep a zero for each key: only how many there are counts.

        The zeros hang on the keys, so that what made the keys gets a gradient, of zeros:
        distributed training waits for one from every parameter.
        """
        return torch.where(torch.ones_like(key[..., :1], dtype=torch.bool), 0.0, key[..., :1])

    def forward(
        self,
        query: Float[Tensor, "*batch queries query_dim"],
        prepared: Float[Tensor, "*batch keys 1"],
    ) -> Float[Tensor, "*batch queries keys"]:
        """Return the energies before mask and normaliser.

        Raises:
            ValueError: more keys than it was built for.
        """
        return self._all(query, prepared.shape[-2]) + at_least_float32(prepared).mT

    def at(
        self,
        query: Float[Tensor, "*tile rows query_dim"],
        prepared: Float[Tensor, "*tile columns 1"],
        pairs: Pairs,
    ) -> Float[Tensor, "*tile rows columns"]:
        """Return the energies of the tiles' columns, wherever these stand among the keys."""
        energies = self._all(query, pairs.keys)
        shape = torch.broadcast_shapes(energies.shape[:-1], pairs.key.shape[:-1])
        columns = pairs.key.expand(*shape, -1)
        chosen = energies.expand(*shape, -1).gather(-1, columns)
        return chosen + at_least_float32(prepared).mT

    def _all(self, query: Tensor, keys: int) -> Tensor:
        if keys > self.max_keys:
            raise ValueError(
                f"the Location score was built for max_keys={self.max_keys}, got {keys} keys: "
                "build a larger one, or take a score that compares contents"
            )
        return at_least_float32(self.project_query(query))[..., :keys]

    def pair_cost(self, width: int) -> tuple[int, int]:
        """One multiply-add a dimension of the query; one energy."""
        assert self.query_dim is not None
        return 2 * self.query_dim, 1
