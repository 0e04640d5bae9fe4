"""How much each head counts (Michel, Levy and Neubig 2019, section 4.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from qkv.nn.multi_head import MultiHeadAttention

if TYPE_CHECKING:
    from jaxtyping import Float


def head_importance(
    model: nn.Module, loss: Callable[[], Float[Tensor, ""]]
) -> dict[str, Float[Tensor, " heads"]]:
    """Return how much each head of each MultiHeadAttention in the model counts.

        I_h = mean over x of |A_h(x) . dL(x) / dA_h(x)|        (Michel et al. 2019, eq. 2)

    A_h(x): what head h adds to its layer's output in item x of a batch, at all its positions.
    loss: runs the model on one batch and returns the sum of its items' losses (a mean divides
    every importance by the same number); the model must not mix items. Layers are named as in
    model.named_modules(). For an expectation over a corpus, take the mean over its batches.
    Nothing is kept on the model, and no parameter gets a gradient.
    Differs from the paper: importances are not divided by their norm over the layer; A . dL/dA
    is found as the derivative by a factor of 1 on each head, which is the same.

    Raises:
        ValueError: the model has no such layer, or the loss is no differentiable number.
    """
    layers = {n: m for n, m in model.named_modules() if isinstance(m, MultiHeadAttention)}
    if not layers:
        raise ValueError(f"{type(model).__name__} holds no MultiHeadAttention, so it has no heads")
    factors: dict[str, list[Tensor]] = {name: [] for name in layers}
    hooks = [
        layer.project_context.register_forward_pre_hook(_scaled_by(factors[name], layer.heads))
        for name, layer in layers.items()
    ]
    try:
        with torch.enable_grad():
            total = loss()
    finally:
        for hook in hooks:
            hook.remove()
    if total.dim() or not total.requires_grad:
        raise ValueError(
            f"loss() returns one differentiable number, got {list(total.shape)}"
            f"{'' if total.requires_grad else ' without a gradient'}"
        )
    asked = [factor for made in factors.values() for factor in made]
    gradients = iter(torch.autograd.grad(total, asked, allow_unused=True, materialize_grads=True))
    return {
        name: _mean_size([next(gradients) for _ in made], layers[name])
        for name, made in factors.items()
    }


def _scaled_by(
    factors: list[Tensor], heads: int
) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor, ...]]:
    """Multiply each item's and head's part of the contexts by a 1 that is remembered."""

    def scale(module: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        (contexts,) = given
        factor = contexts.new_ones(contexts.shape[0], heads, requires_grad=True)
        factors.append(factor)
        scaled = contexts.unflatten(-1, (heads, -1)) * factor[:, None, :, None]
        return (scaled.flatten(-2),)

    return scale


def _mean_size(sensitivities: list[Tensor], layer: MultiHeadAttention) -> Tensor:
    """Sum over the layer's calls, mean of the absolute values over items; 0 if never called."""
    if not sensitivities:
        return layer.project_context.weight.new_zeros(layer.heads)
    return torch.stack(sensitivities).sum(0).abs().mean(0)
