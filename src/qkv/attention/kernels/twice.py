"""Fused attention has no second derivative; this adds one without slowing the first.

The fused result is passed through a function that is the identity. Backward, it hands the
gradient on to the fused backward, as if it were not there. When the backward pass itself is being
recorded (create_graph=True) it hands on nothing, and sends the gradient through the same equation
written in plain torch instead, which can be differentiated again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def differentiable_twice(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scale: float,
    causal: bool = False,
    attend: Callable[..., Tensor] = F.scaled_dot_product_attention,
) -> Tensor:
    """scaled_dot_product_attention, differentiable as often as one likes.

    mask: boolean (True = may meet) or added; it gets no gradient. causal: j <= i, and no mask. All
    [batch, heads, time, dim]. attend: computes it, with a first derivative.
    """
    fused = attend(query, key, value, attn_mask=mask, is_causal=causal, scale=scale)
    if not fused.requires_grad:
        return fused
    recorded: Tensor = _Recorded.apply(fused, query, key, value, mask, scale, causal)
    return recorded


class _Recorded(torch.autograd.Function):
    """The identity on `fused`, with two ways back."""

    @staticmethod
    def forward(
        ctx: Any,
        fused: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        scale: float,
        causal: bool,
    ) -> Tensor:
        ctx.save_for_backward(query, key, value, mask)
        ctx.scale, ctx.causal = scale, causal
        return fused.view_as(fused)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        if not torch.is_grad_enabled():
            return gradient, None, None, None, None, None, None
        query, key, value, mask = ctx.saved_tensors
        if ctx.causal:
            mask = query.new_ones(query.shape[-2], key.shape[-2], dtype=torch.bool).tril()
        # Views: one tensor may serve as key and value, and must get each role's gradient once.
        inputs = tuple(tensor.view_as(tensor) for tensor in (query, key, value))
        wanted = [i for i, needed in enumerate(ctx.needs_input_grad[1:4]) if needed]
        found = torch.autograd.grad(
            composed(inputs, mask, ctx.scale),
            [inputs[i] for i in wanted],
            gradient,
            create_graph=True,
        )
        back = dict(zip(wanted, found, strict=True))
        return None, back.get(0), back.get(1), back.get(2), None, None, None


def composed(inputs: tuple[Tensor, ...], mask: Tensor | None, scale: float) -> Tensor:
    """The same equation in plain torch, which has any derivative."""
    query, key, value = inputs
    energies = (query @ key.mT) * scale
    if mask is not None and mask.dtype == torch.bool:
        energies = torch.where(mask, energies, -math.inf)
    elif mask is not None:
        energies = energies + mask
    return torch.softmax(energies, dim=-1) @ value
