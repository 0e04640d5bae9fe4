"""Baselines: what REINFORCE expects of a step before it draws. `BASELINES` is the list of them.

A baseline that the draw has no say in changes no expected gradient, only its variance.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


class Baseline(nn.Module, ABC):
    """Predicts the gain of a token. Abstract."""

    def __init__(self, features: int) -> None:
        """Take the width of the features."""
        super().__init__()

    @abstractmethod
    def forward(self, before: Float[Tensor, "batch time features"]) -> Float[Tensor, "batch time"]:
        """Predict each step's gain from the features of the step before."""

    @abstractmethod
    def fit(
        self,
        predicted: Float[Tensor, "batch time"],
        gains: Float[Tensor, "batch time"],
        real: Bool[Tensor, "batch time"],
    ) -> Float[Tensor, "batch time"]:
        """Learn from the gains that came, and return a loss to train parameters on, if any."""


class NoBaseline(Baseline):
    """b = 0."""

    def forward(self, before: Float[Tensor, "batch time features"]) -> Float[Tensor, "batch time"]:
        """Predict 0."""
        return before.new_zeros(before.shape[:2])

    def fit(
        self,
        predicted: Float[Tensor, "batch time"],
        gains: Float[Tensor, "batch time"],
        real: Bool[Tensor, "batch time"],
    ) -> Float[Tensor, "batch time"]:
        """Nothing to learn."""
        return torch.zeros_like(gains)


class MovingAverage(Baseline):
    """b_n = 0.9 b_{n-1} + 0.1 mean gain of batch n (Xu et al. 2015, section 4.1).

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

    def forward(self, before: Float[Tensor, "batch time features"]) -> Float[Tensor, "batch time"]:
        """Predict the average of the batches before this one."""
        return self.mean.to(before.dtype).expand(before.shape[:2]).clone()

    @torch.no_grad()
    def fit(
        self,
        predicted: Float[Tensor, "batch time"],
        gains: Float[Tensor, "batch time"],
        real: Bool[Tensor, "batch time"],
    ) -> Float[Tensor, "batch time"]:
        """Move the average; there is nothing to train."""
        mean = gains.detach()[real].mean()
        share = torch.where(self.seen > 0, 1 - self.decay, 1.0)
        self.mean.lerp_(mean.to(self.mean.dtype), share)
        self.seen.fill_(1.0)
        return torch.zeros_like(gains)


class Learned(Baseline):
    """b_i = v . tanh(W f_{i-1} + c) + d, fitted to the gains by least squares (Mnih et al. 2014).

    Parameters: W [width, features], c [width], v [width], d. v and d start at 0.
    """

    width = 32

    def __init__(self, features: int) -> None:
        super().__init__(features)
        self.hidden = nn.Linear(features, self.width)
        self.value = nn.Linear(self.width, 1)
        nn.init.zeros_(self.value.weight)
        nn.init.zeros_(self.value.bias)

    def forward(self, before: Float[Tensor, "batch time features"]) -> Float[Tensor, "batch time"]:
        """Predict from the features."""
        predicted: Tensor = self.value(torch.tanh(self.hidden(before))).squeeze(-1)
        return predicted

    def fit(
        self,
        predicted: Float[Tensor, "batch time"],
        gains: Float[Tensor, "batch time"],
        real: Bool[Tensor, "batch time"],
    ) -> Float[Tensor, "batch time"]:
        """Return the squared errors."""
        return (predicted - gains.detach()).square() * real


BASELINES: dict[str, type[Baseline]] = {
    "none": NoBaseline,
    "moving_average": MovingAverage,
    "learned": Learned,
}
