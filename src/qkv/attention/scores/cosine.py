"""Cosine score with a key strength (Graves, Wayne and Danihelka 2014, eqs. 5 and 6).

    e_ij = beta q_i . k_j / (|q_i| |k_j|)

beta is a fixed number; or, as in the paper, one for each query, which a network emits at each
step: a tensor, and then the score is a value for one call.
Parameters: none; beta is given.
Cost: as the dot score, and a norm a query and a key.
Differs from the paper: a vector of zeros has no direction, and scores 0.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from qkv.attention.masks.mask import align
from qkv.attention.recorded import recorded, transformed
from qkv.attention.scores.score import DotScore, at_least_float32, same_width

if TYPE_CHECKING:
    from jaxtyping import Float, Int


class Cosine(DotScore):
    """Score each key by the cosine of its angle with the query, times beta; no parameters.

    beta: a number, or a tensor [..., queries, 1] whose other sizes are the query's or 1; it may
    need a gradient.
    """

    has_parameters = False

    def __init__(self, beta: float | Float[Tensor, "*batch queries 1"] = 1.0) -> None:
        super().__init__()
        if isinstance(beta, Tensor):
            if not beta.is_floating_point() or beta.dim() < 2 or beta.shape[-1] != 1:
                raise ValueError(
                    "beta is a number, or a floating-point tensor [batch, queries, 1], one for "
                    f"each query, got {beta.dtype} {list(beta.shape)}"
                )
        elif not math.isfinite(beta):
            raise ValueError(f"beta is a finite number, got {beta}")
        self.beta = beta

    @classmethod
    def sized(cls, query_dim: int, key_dim: int, hidden: int) -> Self:
        """Build one; queries and keys must have one width."""
        same_width("cosine", query_dim, key_dim)
        return cls()

    def scale(self, width: int) -> float:
        """Return beta; that of each query is already in the projected query."""
        return 1.0 if isinstance(self.beta, Tensor) else self.beta

    def project_query(
        self, query: Float[Tensor, "*batch queries width"]
    ) -> Float[Tensor, "*batch queries width"]:
        """Give the query length 1, or its own beta.

        Raises:
            ValueError: the betas are for other queries.
        """
        if not isinstance(self.beta, Tensor):
            return _unit(query)
        beta = self.beta
        if beta.dim() <= query.dim():
            beta = align(beta, query.dim() - 2)
        pairs = zip(reversed(beta.shape), (1, *reversed(query.shape[:-1])), strict=False)
        if beta.dim() > query.dim() or any(size not in (1, full) for size, full in pairs):
            raise ValueError(
                f"beta {list(self.beta.shape)} does not fit queries {list(query.shape)}: it is "
                "[batch, queries, 1] or [batch, heads, queries, 1], each size the query's or 1"
            )
        # A query that may meet nothing arrives empty; its beta, be it NaN, counts as little.
        beta = torch.where(query.any(-1, keepdim=True), beta.to(query.dtype), 0)
        return _unit(query) * beta

    def prepare(
        self, key: Float[Tensor, "*batch keys width"]
    ) -> Float[Tensor, "*batch keys width"]:
        """Give the keys length 1."""
        return _unit(key)

    def of_heads(self, kept: Int[Tensor, " kept"]) -> Self:
        """Return a copy.

        Raises:
            ValueError: there is a beta for each query, which belongs to one call.
        """
        if isinstance(self.beta, Tensor):
            raise ValueError(
                "Cosine has a beta for each query of one call, so it cannot be kept for some "
                "heads: leave out the heads of a layer whose beta is a number"
            )
        return super().of_heads(kept)


def _unit(vector: Float[Tensor, "*any width"]) -> Float[Tensor, "*any width"]:
    """x / |x|, and 0 for 0, with finite derivatives; each row as if it were alone."""
    wide = at_least_float32(vector)
    if vector.device.type != "cpu" or recorded() or transformed():
        return _scaled_unit(wide).to(vector.dtype)
    kept = _kept(wide)
    if bool(kept.all()):
        return _plain_unit(wide).to(vector.dtype)
    plain = _plain_unit(torch.where(kept, wide, 1.0))
    return torch.where(kept, plain, _scaled_unit(torch.where(kept, 1.0, wide))).to(vector.dtype)


def _plain_unit(wide: Tensor) -> Tensor:
    squares = wide.square().sum(-1, keepdim=True)
    return wide / squares.masked_fill(squares == 0, 1).sqrt()


def _scaled_unit(wide: Tensor) -> Tensor:
    """Divide the largest entry out first, so that no square overflows or vanishes.

    The result does not depend on it, so it needs no gradient.
    """
    largest = wide.detach().abs().amax(-1, keepdim=True)
    none = largest < torch.finfo(wide.dtype).tiny
    wide = wide / torch.where(none, 1.0, largest)
    squares = wide.square().sum(-1, keepdim=True)
    return wide / torch.where(none, 1.0, squares).sqrt()


@torch.no_grad()
def _kept(wide: Tensor) -> Tensor:
    """Rows where what was lost of the squares is nothing beside their sum."""
    squares, kind = wide.square().sum(-1, keepdim=True), torch.finfo(wide.dtype)
    kept = (squares >= kind.tiny / kind.eps) & (squares <= kind.max)
    return kept if bool(kept.all()) else kept | ~wide.any(-1, keepdim=True)
