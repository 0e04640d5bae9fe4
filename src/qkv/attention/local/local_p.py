"""Predictive local attention, local-p (Luong, Pham and Manning 2015, section 3.2).

    p_t = S sigmoid(v_p . tanh(W_p h_t))                                        (eq. 9)
    a_t(s) = align(h_t, h_s) exp(-(s - p_t)^2 / (2 sigma^2)),   sigma = D / 2   (eq. 10)

over the keys s in [p_t - D, p_t + D]. Not renormalised after the Gaussian, as in the paper.
Cost: T*(2 D + 1) pairs, however many keys there are, and hidden*query_dim a query for p_t.
Differs from the paper: keys count from 0, the first one that is no padding.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

import torch
from torch import nn

from qkv.attention.local.local import Local, Placement
from qkv.attention.masks.mask import Mask
from qkv.attention.recorded import recorded, transformed
from qkv.attention.reweighters.gaussian import Gaussian
from qkv.attention.scores.score import at_least_float32

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from qkv.attention.local.local import Extent


class LocalP(Local):
    """The query says where to look; the Gaussian lets that be learned.

    Parameters: W_p [hidden, query_dim], v_p [hidden]. Without `hidden` it is query_dim, as in the
    paper.
    """

    def __init__(self, query_dim: int, window: int, hidden: int | None = None) -> None:
        super().__init__(window)
        hidden = query_dim if hidden is None else hidden
        self.project_query = nn.Linear(query_dim, hidden, bias=False)
        self.v = nn.Parameter(torch.empty(hidden).uniform_(-(hidden**-0.5), hidden**-0.5))

    @classmethod
    def sized(cls, query_dim: int, window: int) -> Self:
        """Build one for queries of this width."""
        return cls(query_dim, window)

    def forward(
        self,
        query: Float[Tensor, "*batch queries query_dim"],
        positions: Int[Tensor, " queries"],
        visible: Extent,
    ) -> Placement:
        """A window around the position that each query points at, and a Gaussian on it."""
        predicted = self.positions(query, visible.length) + visible.first.unsqueeze(-1)
        return Placement(Mask.around(predicted, self.window), Gaussian(predicted, self.window / 2))

    def positions(
        self, query: Float[Tensor, "*batch queries query_dim"], lengths: Int[Tensor, "*batch"]
    ) -> Float[Tensor, "*batch queries"]:
        """Return p_t, counted from the first key, in [0, S].

        In float32 at least: half precision has no such numbers. A query that is not finite points
        into the middle: what it reads is lost anyway, and where it is masked it must not reach
        W_p's gradient.
        """
        if recorded() or transformed() or not math.isfinite(query.detach().sum()):
            query = query.masked_fill(~query.isfinite().all(-1, keepdim=True), 0)
        hidden = torch.tanh(self.project_query(query))
        share = torch.sigmoid(at_least_float32(hidden) @ at_least_float32(self.v))
        return share * lengths.unsqueeze(-1).to(share.dtype)
