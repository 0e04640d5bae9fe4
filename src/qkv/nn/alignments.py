"""Hard alignments summed over exactly. `ALIGNMENTS` is the one list of them.

A step reads one source position a_i; its prior is p(a_i = j | y_<i, x), [batch, queries, source],
all as logarithms. What is impossible has NEVER: finite, so that no gradient is NaN, and so low
that its exponential is exactly 0.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float
from torch import Tensor

NEVER = -1e30


class Alignment(ABC):
    """How the position of a step depends on that of the step before. Abstract; holds nothing."""

    @abstractmethod
    def prior(
        self,
        energies: Float[Tensor, "batch queries source"],
        real: Bool[Tensor, "batch source"],
        past: Float[Tensor, "batch queries source"],
    ) -> Float[Tensor, "batch queries source"]:
        """Return the prior of a step.

        past: log p(a_{i-1} = k | y_<i, x), given all outputs up to the last.
        """

    @abstractmethod
    def priors(
        self,
        energies: Float[Tensor, "batch time source"],
        real: Bool[Tensor, "batch source"],
        emitted: Float[Tensor, "batch time source"],
    ) -> Float[Tensor, "batch time source"]:
        """Return the priors of all steps of given outputs.

        emitted: log p(y_i | a_i = j, y_<i, x); what stands at the last step is not read.
        """


class Independent(Alignment):
    """Each step by itself, whatever was read before (Wu, Shapiro and Cotterell 2018).

        p(a_i = j) = softmax_j(e_ij)

    Parameters: none.
    Cost: source a step, and the output layer at each source position.
    Differs from the paper: not at all.
    """

    def prior(
        self,
        energies: Float[Tensor, "batch queries source"],
        real: Bool[Tensor, "batch source"],
        past: Float[Tensor, "batch queries source"],
    ) -> Float[Tensor, "batch queries source"]:
        """Return the softmax."""
        return torch.where(real.unsqueeze(1), energies, NEVER).log_softmax(-1)

    def priors(
        self,
        energies: Float[Tensor, "batch time source"],
        real: Bool[Tensor, "batch source"],
        emitted: Float[Tensor, "batch time source"],
    ) -> Float[Tensor, "batch time source"]:
        """Return the softmaxes."""
        return self.prior(energies, real, energies)


class Monotonic(Alignment):
    """a_1 <= a_2 <= ...: the forward algorithm (Wu and Cotterell 2019, 0-MONO).

        p(a_i = j | a_{i-1} = k) = 1[j >= k] exp(e_ij) / sum_{j' >= k} exp(e_ij'),   a_0 = 1
        p(a_i = j | y_<i) = sum_k p(a_i = j | a_{i-1} = k) p(a_{i-1} = k | y_<i)
        p(a_i = j | y_<=i) is proportional to p(a_i = j | y_<i) p(y_i | a_i = j, y_<i)

    Parameters: none.
    Cost: source^2 a step, and the output layer at each source position.
    Differs from the paper: the forward variables are normalised at each
    step, so that they are what search needs too; the transition knows no distance (1-MONO does).
    """

    def prior(
        self,
        energies: Float[Tensor, "batch queries source"],
        real: Bool[Tensor, "batch source"],
        past: Float[Tensor, "batch queries source"],
    ) -> Float[Tensor, "batch queries source"]:
        """Return the sum over the last position."""
        width = energies.shape[-1]
        onward = torch.ones(width, width, dtype=torch.bool, device=energies.device).triu()
        # From a pad, where nobody is, one may go to any pad: each row needs somewhere to go.
        allowed = onward & (real.unsqueeze(1) | ~real.unsqueeze(2))
        moves = torch.where(allowed.unsqueeze(1), energies.unsqueeze(2), NEVER).log_softmax(-1)
        return (past.unsqueeze(-1) + moves).logsumexp(-2)

    def priors(
        self,
        energies: Float[Tensor, "batch time source"],
        real: Bool[Tensor, "batch source"],
        emitted: Float[Tensor, "batch time source"],
    ) -> Float[Tensor, "batch time source"]:
        """Return the priors, each from what the step before gave."""
        past = beginning(energies[:, :1])
        found = []
        for step, spoken in zip(energies.split(1, 1), emitted.split(1, 1), strict=True):
            found.append(self.prior(step, real, past))
            past = (found[-1] + spoken).log_softmax(-1)
        return torch.cat(found, dim=1)


def beginning(
    like: Float[Tensor, "batch queries source"],
) -> Float[Tensor, "batch queries source"]:
    """Return the past of the first step: it may go anywhere, as if from the first position."""
    past = torch.full_like(like, NEVER)
    past[..., 0] = 0.0
    return past


ALIGNMENTS: dict[str, type[Alignment]] = {"independent": Independent, "monotonic": Monotonic}
