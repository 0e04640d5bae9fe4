"""What every attention returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class Attended(NamedTuple):
    """One object, whatever was asked; what was not asked is None.

    context: what was read, c = sum_j w_ij v_j. A row that may attend to nothing reads zeros.
    weights: w, what multiplies the values, per head, before dropout. Rows sum to 1, to 0 where
        nothing may be attended; sigmoid's, and those of a reweighter, to anything.
    log_normalizer: log sum_j exp(e_ij), -inf where nothing may be attended; float32 at least.
    log_prob: of the position drawn, for normalisers that draw one; 0 where there is none.
    log_distribution: log p of each position that it was drawn from; -inf for those forbidden.
    """

    context: Float[Tensor, "*batch queries value_dim"]
    weights: Float[Tensor, "*batch queries keys"] | None = None
    log_normalizer: Float[Tensor, "*batch queries"] | None = None
    log_prob: Float[Tensor, "*batch queries"] | None = None
    log_distribution: Float[Tensor, "*batch queries keys"] | None = None
