"""REINFORCE: learning where positions are drawn (Williams 1992; Xu et al. 2015, section 4.1).

    grad = E_a[ sum_i  d l_i  +  weight (R_i - b_i) d log p(a_i)  +  entropy d H_i ]

l_i = log p(y_i | y_<i, a_<=i, x) is the gain of step i, R_i the gains that the draw of step i has
a say in (its own; where draws last, all later ones too), b_i a baseline that the draw has no say
in, H_i the entropy of the distribution that a_i was drawn from.

With Rao-Blackwell (Liu et al. 2019) the own gain of a step is summed over the k likeliest
positions C and one that is drawn from the others, while the other steps keep what they drew:

    E[g(a_i)] ~ sum_{j in C} p(j) g(j) + (1 - p(C)) g(j~),     j~ ~ p(. | not C)

For k >= the number of positions this is the exact sum.

Differs from Xu et al.: R_i leaves out the gains before step i, which the draw cannot change; the
baseline is a gain a token; no half of the updates uses the expected context.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from qkv.attention.normalizers.hard import gumbel_noise
from qkv.nn.baselines import Baseline


class Drawn(NamedTuple):
    """What a decoder drew at each step, for the loss.

    log_prob: of the position drawn. log_distribution: of each position; -inf: forbidden.
    features_at: from positions that each step might have read instead [batch, time, read] to the
        features it would have given [batch, time, read, features].
    lasting: whether what a step reads changes later steps.
    """

    log_prob: Float[Tensor, "batch time"]
    log_distribution: Float[Tensor, "batch time source"]
    features_at: Callable[[Int[Tensor, "batch time read"]], Tensor]
    lasting: bool


class Readings(NamedTuple):
    """Positions that stand for the expectation over the position of each step.

    weights sum to 1 over `read` and have no gradient.
    """

    features: Float[Tensor, "batch time read features"]
    log_probs: Float[Tensor, "batch time read"]
    weights: Float[Tensor, "batch time read"]


def joined(steps: Sequence[Drawn]) -> Drawn:
    """Return what was drawn step by step as one."""

    def features_at(positions: Int[Tensor, "batch time read"]) -> Tensor:
        apart = zip(steps, positions.split(1, dim=1), strict=True)
        return torch.cat([step.features_at(own) for step, own in apart], dim=1)

    return Drawn(
        torch.cat([step.log_prob for step in steps], dim=1),
        torch.cat([step.log_distribution for step in steps], dim=1),
        features_at,
        steps[0].lasting,
    )


def entropy(log_distribution: Float[Tensor, "*batch source"]) -> Float[Tensor, "*batch"]:
    """Return H = - sum_j p_j log p_j; a forbidden position adds nothing."""
    finite = log_distribution.masked_fill(log_distribution.isneginf(), 0.0)
    return -(log_distribution.exp() * finite).sum(-1)


def pick(
    log_distribution: Float[Tensor, "batch time source"], k: int
) -> tuple[Int[Tensor, "batch time read"], Float[Tensor, "batch time read"]]:
    """Return the k likeliest positions and one drawn from the others, with their weights.

    Where there are no others, no position is drawn.
    """
    log_distribution = log_distribution.detach()
    best = log_distribution.topk(min(k, log_distribution.shape[-1]), dim=-1)
    weights = best.values.exp()
    if k >= log_distribution.shape[-1]:
        return best.indices, weights
    others = log_distribution.scatter(-1, best.indices, -torch.inf)
    drawn = (others + gumbel_noise(others)).argmax(-1, keepdim=True)
    mass = others.logsumexp(-1, keepdim=True).exp()  # not 1 - p(C), which rounds
    return torch.cat([best.indices, drawn], -1), torch.cat([weights, mass], -1)


class Reinforce(nn.Module):
    """The loss whose gradient is the estimate above, with its sign turned.

    State: that of the baseline. It is no part of the model.

    weight: of the score term (Xu's lambda_r). entropy: of the entropy (lambda_e).
    rao_blackwell: k; 0: the position drawn alone.
    """

    def __init__(
        self,
        baseline: Baseline,
        *,
        weight: float = 1.0,
        entropy: float = 0.0,
        rao_blackwell: int = 0,
    ) -> None:
        super().__init__()
        self.baseline = baseline
        self.weight = weight
        self.entropy = entropy
        self.rao_blackwell = rao_blackwell

    def readings(self, features: Float[Tensor, "batch time features"], drawn: Drawn) -> Readings:
        """Return the positions whose gains `forward` wants to know."""
        if self.rao_blackwell == 0:
            log_probs = drawn.log_prob.unsqueeze(-1)
            return Readings(features.unsqueeze(2), log_probs, torch.ones_like(log_probs))
        positions, weights = pick(drawn.log_distribution, self.rao_blackwell)
        log_probs = drawn.log_distribution.gather(-1, positions)
        # A forbidden position has weight 0, and 0 * -inf would be NaN.
        log_probs = log_probs.masked_fill(log_probs.isneginf(), 0.0)
        return Readings(drawn.features_at(positions), log_probs, weights)

    def forward(
        self,
        gains: Float[Tensor, "batch time read"],
        readings: Readings,
        drawn: Drawn,
        features: Float[Tensor, "batch time features"],
        real: Bool[Tensor, "batch time"],
    ) -> Float[Tensor, ""]:
        """Return the loss, summed over the real steps.

        gains: of each reading, with their graph. features: of what was drawn; the baseline of a
            step reads those of the step before, which its draw has no say in.
        """
        before = torch.cat([torch.zeros_like(features[:, :1]), features[:, :-1]], 1).detach()
        predicted = self.baseline(before)
        base, base_later = predicted.detach().unbind(-1)
        own = gains.detach()
        advantage = own - base.unsqueeze(-1)
        score = readings.weights * (gains + self.weight * advantage * readings.log_probs)
        objective = score.sum(-1) + self.entropy * entropy(drawn.log_distribution)
        mean = (readings.weights * own).sum(-1) * real
        left = after(real.to(mean.dtype))
        later = after(mean)
        if drawn.lasting:
            advantage = later - base_later * left
            objective = objective + self.weight * advantage * drawn.log_prob
        came = torch.stack([mean, later / left.clamp(min=1)], dim=-1)
        wanted = torch.stack([real, real & (left > 0)], dim=-1)
        return self.baseline.fit(predicted, came, wanted).sum() - (objective * real).sum()


def after(steps: Float[Tensor, "batch time"]) -> Float[Tensor, "batch time"]:
    """Return, at each step, the sum over all later ones."""
    return steps.flip(1).cumsum(1).flip(1) - steps
