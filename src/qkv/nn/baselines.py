"""Baselines: what REINFORCE expects of a step before it draws. `BASELINES` is the list of them.

A baseline that the draw has no say in changes no expected gradient, only its variance.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


class Baseline(nn.Module, ABC):
    """Predicts, at each step, its own gain and the mean gain of a later one. Abstract."""

    def __init__(self, features: int) -> None:
        """Take the width of the features."""
        super().__init__()

    @abstractmethod
    def forward(
        self, before: Float[Tensor, "batch time features"]
    ) -> Float[Tensor, "batch time 2"]:
        """Predict each step's gain from the features of the step before."""

    @abstractmethod
    def fit(
        self,
        predicted: Float[Tensor, "batch time 2"],
        gains: Float[Tensor, "batch time 2"],
        real: Bool[Tensor, "batch time 2"],
    ) -> Float[Tensor, "batch time 2"]:
        """Learn from the gains that came, and return a loss to train parameters on, if any."""


class NoBaseline(Baseline):
    """No baseline (Williams 1992).

        b = 0

    Parameters: none.
    Cost: none.
    Differs from the paper: not at all.
    """

    def forward(
        self, before: Float[Tensor, "batch time features"]
    ) -> Float[Tensor, "batch time 2"]:
        """Predict 0."""
        return before.new_zeros(*before.shape[:2], 2)

    def fit(
        self,
        predicted: Float[Tensor, "batch time 2"],
        gains: Float[Tensor, "batch time 2"],
        real: Bool[Tensor, "batch time 2"],
    ) -> Float[Tensor, "batch time 2"]:
        """Nothing to learn."""
        return torch.zeros_like(gains)


class MovingAverage(Baseline):
    """The moving average of the gains (Xu et al. 2015, section 4.1).

        b_n = 0.9 b_{n-1} + 0.1 mean gain of batch n

    Parameters: none.
    Cost: a mean a batch.
    Differs from the paper: the mean is a token's, not a sequence's; b starts at the first mean.
    Buffers: mean, seen.
    """

    decay = 0.9
    mean: Tensor
    seen: Tensor

    def __init__(self, features: int) -> None:
        super().__init__(features)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("seen", torch.zeros(()))

    def forward(
        self, before: Float[Tensor, "batch time features"]
    ) -> Float[Tensor, "batch time 2"]:
        """Predict the average of the batches before this one."""
        return self.mean.to(before.dtype).expand(*before.shape[:2], 2).clone()

    @torch.no_grad()
    def fit(
        self,
        predicted: Float[Tensor, "batch time 2"],
        gains: Float[Tensor, "batch time 2"],
        real: Bool[Tensor, "batch time 2"],
    ) -> Float[Tensor, "batch time 2"]:
        """Move the average; there is nothing to train."""
        mean = gains[..., 0][real[..., 0]].mean()
        share = torch.where(self.seen > 0, 1 - self.decay, 1.0)
        self.mean.lerp_(mean.to(self.mean.dtype), share)
        self.seen.fill_(1.0)
        return torch.zeros_like(gains)


class Learned(Baseline):
    """A network over the features, fitted to the gains by least squares (Mnih et al. 2014).

        b_i = V tanh(W f_{i-1} + c) + d

    Parameters: W [width, features], c [width], V [2, width], d [2]. V and d start at 0.
    Cost: width*features multiply-adds a step.
    Differs from the paper: it reads the features of the output layer, of the step before.
    """

    width = 32

    def __init__(self, features: int) -> None:
        super().__init__(features)
        self.hidden = nn.Linear(features, self.width)
        self.value = nn.Linear(self.width, 2)
        nn.init.zeros_(self.value.weight)
        nn.init.zeros_(self.value.bias)

    def forward(
        self, before: Float[Tensor, "batch time features"]
    ) -> Float[Tensor, "batch time 2"]:
        """Predict from the features."""
        predicted: Tensor = self.value(torch.tanh(self.hidden(before)))
        return predicted

    def fit(
        self,
        predicted: Float[Tensor, "batch time 2"],
        gains: Float[Tensor, "batch time 2"],
        real: Bool[Tensor, "batch time 2"],
    ) -> Float[Tensor, "batch time 2"]:
        """Return the squared errors."""
        return (predicted - gains).square() * real


BASELINES: dict[str, type[Baseline]] = {
    "none": NoBaseline,
    "moving_average": MovingAverage,
    "learned": Learned,
}
