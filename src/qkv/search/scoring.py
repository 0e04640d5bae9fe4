"""How hypotheses of different lengths are compared (Wu et al. 2016, section 7, eq. 14).

    s(y, x) = log p(y | x) / lp(n) + cp(x, y)
    lp(n)   = ((5 + n) / 6) ^ alpha
    cp(x,y) = beta * sum_j log(min(sum_i a_ij, 1))

n counts EOS; j runs over the source tokens, EOS included; i over the generated ones, likewise.

Differs from the paper: a source token that got no attention at all counts as 1e-10 inside the
logarithm, so that scores stay finite. The paper's lp is (5 + n)^alpha / (5 + 1)^alpha: the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

Number = TypeVar("Number", float, Tensor)

_LEAST_COVERAGE = 1e-10


def length_penalty(n: Number, alpha: float) -> Number:
    """Return lp(n) = ((5 + n) / 6)^alpha."""
    penalty: Number = ((5 + n) / 6) ** alpha
    return penalty


def coverage_penalty(
    covered: Float[Tensor, "*batch source"], beta: float
) -> Float[Tensor, "*batch"]:
    """Return cp from the attention that each source token got over all steps."""
    return beta * covered.clamp(min=_LEAST_COVERAGE, max=1.0).log().sum(-1)


@dataclass(frozen=True)
class Scoring:
    """The score of hypotheses, and the best score that an unfinished one can still reach.

    alpha: any sign; 0 ranks by log p alone. coverage: beta >= 0; 0 is off.
    """

    alpha: float
    coverage: float = 0.0

    def __post_init__(self) -> None:
        if self.coverage < 0:
            raise ValueError(
                f"search.coverage = {self.coverage}: the coverage penalty must be >= 0 (0: off)"
            )

    def score(
        self,
        log_prob: Float[Tensor, "*batch"],
        n: int,
        covered: Float[Tensor, "*batch source"] | None,
    ) -> Float[Tensor, "*batch"]:
        """Return s(y, x) of hypotheses of n tokens.

        covered: the attention that each source token got over all steps; None: no coverage.
        """
        score = log_prob / length_penalty(float(n), self.alpha)
        return score if covered is None else score + coverage_penalty(covered, self.coverage)

    def bound(
        self,
        log_prob: Float[Tensor, "batch beams"],
        n: int,
        limit: Float[Tensor, " batch"],
    ) -> Float[Tensor, "batch beams"]:
        """Return a score that no continuation of hypotheses of n tokens can exceed.

        log p only falls and cp <= 0, so the best case keeps today's log p <= 0 and divides it by
        the largest lp ahead. lp is monotone in n, rising or falling with the sign of alpha: that
        is lp of the next length or of the last one.
        """
        largest = torch.maximum(
            length_penalty(limit, self.alpha),
            torch.full_like(limit, length_penalty(n + 1.0, self.alpha)),
        )
        return log_prob / largest.unsqueeze(-1)

    def of(
        self,
        log_prob: float,
        n: int,
        attention: Float[Tensor, "length source"] | None,
    ) -> float:
        """Return s(y, x) of one output of n tokens, from its log p and its attention rows.

        Raises: ValueError if there is a coverage penalty and no attention.
        """
        covered = None
        if self.coverage != 0:
            covered = require_attention(attention).double().sum(0)
        return float(self.score(torch.tensor(log_prob, dtype=torch.float64), n, covered))


def require_attention(attention: Tensor | None) -> Tensor:
    """Return the attention that a coverage penalty reads.

    Raises: ValueError if there is none.
    """
    if attention is None:
        raise ValueError(
            "search.coverage needs attention, and this model has none; set search.coverage = 0"
        )
    return attention
