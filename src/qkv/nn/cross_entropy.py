"""The cross-entropy of a linear layer's outputs, without holding them all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from qkv.attention.scores.score import at_least_float32

if TYPE_CHECKING:
    from jaxtyping import Float, Int

CHUNK = 2**21
"""Logits held at a time: 8 MB of float32 (measured: 128 to 512 tokens at 8,000 words)."""


class CrossEntropy(NamedTuple):
    """Sums over the tokens: the smoothed one has a graph, the plain one has none."""

    smoothed: Float[Tensor, ""]
    plain: Float[Tensor, ""]


def linear_cross_entropy(
    features: Float[Tensor, "tokens features"],
    weight: Float[Tensor, "words features"],
    bias: Float[Tensor, " words"],
    targets: Int[Tensor, " tokens"],
    smoothing: float = 0.0,
) -> CrossEntropy:
    """Return sums of -log softmax(W f + b)[y], smoothed and plain.

        smoothed = (1 - eps) * -log p(y) + eps * mean_v -log p(v)     (Szegedy et al. 2016, sec. 7)

    Some tokens at a time: their logits become probabilities in place, and these the gradients of
    features, weight and bias in the same pass, while they are in the cache. The gradient of the
    smoothed uniform part, the same for every token, is added once.

    Memory: min(tokens, CHUNK / words) * words logits. It has no second derivative.
    """
    work = _Pass(features, weight, bias, targets, smoothing)
    if torch.is_grad_enabled() and any(t.requires_grad for t in (features, weight, bias)):
        return CrossEntropy(*_CrossEntropy.apply(features, weight, bias, work))
    return work.run(None)


class _Gradients(NamedTuple):
    """Of the smoothed sum."""

    features: Tensor
    weight: Tensor
    bias: Tensor


class _CrossEntropy(torch.autograd.Function):
    """Finds its gradients on the way forward, and scales them on the way back."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, work: _Pass
    ) -> tuple[Tensor, Tensor]:
        found = _Gradients(
            torch.empty_like(features), torch.zeros_like(weight), torch.zeros_like(bias)
        )
        sums = work.run(found)
        ctx.save_for_backward(*found)
        ctx.mark_non_differentiable(sums.plain)
        return sums.smoothed, sums.plain

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        return (*(gradient * scale for gradient in ctx.saved_tensors), None)


class _Pass:
    """One pass over the tokens, in the type that autocast asks for."""

    def __init__(
        self, features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, smoothing: float
    ) -> None:
        device = features.device.type
        half = torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if half else weight.dtype
        self.features, self.weight = features.detach().to(dtype), weight.detach().to(dtype)
        self.exact_weight, self.bias = weight.detach(), bias.detach()
        self.targets, self.smoothing = targets, smoothing
        self.tokens, self.words = features.shape[0], weight.shape[0]

    @torch.no_grad()
    def run(self, gradients: _Gradients | None) -> CrossEntropy:
        """Sum over the tokens; fill in the gradients, if given."""
        with torch.autocast(self.features.device.type, enabled=False):
            chunk = max(1, CHUNK // self.words)
            sums = [
                self._some(slice(i, i + chunk), gradients) for i in range(0, self.tokens, chunk)
            ]
            normalizer = torch.cat([one for one, _ in sums]).sum()
            plain = normalizer - torch.cat([one for _, one in sums]).sum()
            # The sum of all logits is linear too.
            mean_weight, mean_bias = self.exact_weight.mean(0), self.bias.mean()
            summed = self.features.sum(0, dtype=mean_weight.dtype)
            uniform = normalizer - summed @ mean_weight - self.tokens * mean_bias
            if gradients is not None:
                gradients.features.sub_(self.smoothing * mean_weight)
                gradients.weight.sub_(self.smoothing / self.words * summed)
                gradients.bias.sub_(self.smoothing * self.tokens / self.words)
        return CrossEntropy((1 - self.smoothing) * plain + self.smoothing * uniform, plain)

    def _some(self, rows: slice, gradients: _Gradients | None) -> tuple[Tensor, Tensor]:
        """Return the log-normalisers and the targets' logits of some tokens."""
        features, targets = self.features[rows], self.targets[rows].unsqueeze(-1)
        logits = at_least_float32(features @ self.weight.mT).add_(self.bias)
        chosen, largest = logits.gather(-1, targets), logits.amax(-1, keepdim=True)
        probabilities = torch.softmax(logits, -1, out=logits)
        # The largest logit's probability is 1 / sum exp(logit - largest), and never 0.
        normalizer = largest - probabilities.amax(-1, keepdim=True).log()
        if gradients is not None:
            probabilities.scatter_add_(
                -1, targets, probabilities.new_full(targets.shape, self.smoothing - 1)
            )
            gradients.bias.add_(probabilities.sum(0))
            rounded = probabilities.to(self.weight.dtype)
            gradients.features[rows] = rounded @ self.weight
            if rounded.dtype == gradients.weight.dtype:
                gradients.weight.addmm_(rounded.mT, features)
            else:
                gradients.weight.add_(rounded.mT @ features)
        return normalizer, chosen
