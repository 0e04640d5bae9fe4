"""Location score (Luong, Pham and Manning 2015, eq. 8, the location-based form below it).

    e_ij = (W q_i)_j = q_i . W_j

The query alone says where to look; what stands there has no say. So the rows of W are the keys of
a dot score, the same for every batch item.
Differs from the paper: a softmax over the sentence's own positions, not cut from a longer one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import torch
from torch import nn

from qkv.attention.scores.score import DotScore

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

_MAX_KEYS = 512  # where only a name is given, as in a config


class Location(DotScore):
    """Score the j-th key by the query's j-th output; more than max_keys keys are refused.

    Parameters: W [max_keys, query_dim].
    Cost: as the dot score; no key is read.
    """

    prepares = False

    def __init__(self, query_dim: int, max_keys: int) -> None:
        super().__init__()
        self.query_dim, self.max_keys = query_dim, max_keys
        self.places = nn.Linear(query_dim, max_keys, bias=False)

    @classmethod
    def sized(cls, query_dim: int, key_dim: int, hidden: int) -> Self:
        """Build one for up to 512 keys; any widths."""
        return cls(query_dim, _MAX_KEYS)

    def scale(self, width: int) -> float:
        """Return 1."""
        return 1.0

    def prepare(
        self, key: Float[Tensor, "*batch keys key_dim"]
    ) -> Float[Tensor, "*batch keys query_dim"]:
        """Return the first rows of W, one memory for all batch items: the number of keys counts.

        Raises:
            ValueError: more keys than it was built for.
        """
        self._check(key.shape[-2])
        return self._rows(self.places.weight[: key.shape[-2]], key)

    def prepare_at(
        self, key: Float[Tensor, "*batch keys key_dim"], positions: Int[Tensor, " keys"]
    ) -> Float[Tensor, "*batch keys query_dim"]:
        """Return W's rows of these positions.

        Raises:
            ValueError: positions beyond those it was built for.
        """
        self._check(int(positions.max()) + 1)
        return self._rows(self.places.weight[positions], key)

    def _check(self, keys: int) -> None:
        if keys > self.max_keys:
            raise ValueError(
                f"the Location score was built for max_keys={self.max_keys}, got {keys} keys: "
                "build a larger one, or take a score that compares contents"
            )

    def _rows(self, rows: Tensor, key: Tensor) -> Tensor:
        """Hang a zero on the keys, so that what made them gets a gradient, of zeros.

        Distributed training waits for one from every parameter.
        """
        if key.requires_grad:
            some = key[..., :1]
            rows = rows + torch.where(torch.ones_like(some, dtype=torch.bool), 0.0, some).sum()
        return rows.to(key.dtype).expand(*key.shape[:-1], -1)
