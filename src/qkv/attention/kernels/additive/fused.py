"""Additive attention with a softmax in one kernel each way (see triton_ways).

Where the backward pass is recorded (create_graph=True), the gradient is that of the equation in
plain torch, which can be differentiated again.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from qkv.attention.kernels.additive import triton_ways
from qkv.attention.kernels.additive.operator import _items
from qkv.attention.kernels.additive.triton_ways import Inputs
from qkv.attention.result import Attended
from qkv.attention.scores.score import AdditiveScore, at_least_float32, tanh_energies

if TYPE_CHECKING:
    from qkv.attention.work import Work


def run(work: Work) -> Attended:
    """Attend; of all pairs nothing is kept but the weights, where they are asked for."""
    score, leading = work.slots.score, work.leading
    assert isinstance(score, AdditiveScore)
    a, b = at_least_float32(score.to_hidden(work.query)), at_least_float32(work.key)
    context, log_normalizer, weights = _Fused.apply(
        _items(a, leading).contiguous(),
        _items(b, leading).contiguous(),
        score.v.to(b.dtype),
        _items(work.value, leading),
        _allowed(work),
        _bias(work, b.dtype),
        work.need == "weights",
    )
    return Attended(
        context.view(*leading, *context.shape[1:]).to(work.value.dtype),
        None
        if weights is None
        else weights.view(*leading, *weights.shape[1:]).to(work.query.dtype),
        log_normalizer.view(*leading, -1) if work.need == "stats" else None,
    )


def _allowed(work: Work) -> Tensor | None:
    """The pairs that may meet, [items, queries, keys]: a dead row has none."""
    seen = work.visible
    if seen is None:
        return None
    return _pairs(work, seen.allowed if seen.dead is None else seen.allowed & ~seen.dead)


def _bias(work: Work, dtype: torch.dtype) -> Tensor | None:
    bias = work.slots.bias
    if bias is None:
        return None
    assert isinstance(bias, Tensor)
    return _pairs(work, bias.detach().to(dtype))


def _pairs(work: Work, some: Tensor) -> Tensor:
    """Stretch what is said of pairs; with one leading dimension at most, nothing is copied."""
    some = some.expand(*work.leading, work.query.shape[-2], work.key.shape[-2])
    return _items(some, work.leading)


class _Fused(torch.autograd.Function):
    """Context, log-normaliser and weights (None where they are not kept), with two ways back."""

    @staticmethod
    def forward(
        ctx: Any,
        a: Tensor,
        b: Tensor,
        v: Tensor,
        value: Tensor,
        allowed: Tensor | None,
        bias: Tensor | None,
        keep: bool,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        inputs = Inputs(a, b, v, allowed, bias)
        context, log_normalizer, weights = triton_ways.forward(inputs, value, keep)
        if weights is not None:
            dead = torch.isneginf(log_normalizer)
            weights.sub_(log_normalizer.masked_fill(dead, 0).unsqueeze(-1)).exp_()
        ctx.save_for_backward(*inputs, value, context, log_normalizer, weights)
        ctx.set_materialize_grads(False)
        return context, log_normalizer, weights

    @staticmethod
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Tensor | None, ...]:
        *saved, value, context, log_normalizer, weights = ctx.saved_tensors
        inputs = Inputs(*saved)
        if torch.is_grad_enabled():
            return _recorded(ctx.needs_input_grad, inputs, value, given)
        to_context, to_log_normalizer, to_weights = given
        to_context = torch.zeros_like(context) if to_context is None else to_context.contiguous()
        mean = (to_context * context).sum(-1)
        if to_log_normalizer is not None:
            mean -= to_log_normalizer
        if to_weights is not None:
            mean += (to_weights * weights).sum(-1)
        a, b, v, to_value = triton_ways.backward(
            inputs, value, log_normalizer, mean, to_context, to_weights
        )
        found = a, b, v, to_value.to(value.dtype)
        needed = ctx.needs_input_grad
        some = (t if n else None for t, n in zip(found, needed[:4], strict=True))
        return (*some, None, None, None)


def _recorded(
    needed: tuple[bool, ...], inputs: Inputs, value: Tensor, given: tuple[Tensor | None, ...]
) -> tuple[Tensor | None, ...]:
    # Views: one tensor may serve as query, key and value, and must get each role's gradient once.
    own = a, b, v, _ = tuple(tensor.view_as(tensor) for tensor in (*inputs[:3], value))
    wanted = [i for i in range(4) if needed[i]]
    made = composed(Inputs(a, b, v, inputs.allowed, inputs.bias), own[3])
    some = [(x, g) for x, g in zip(made, given, strict=True) if g is not None]
    found = torch.autograd.grad(
        [x for x, _ in some], [own[i] for i in wanted], [g for _, g in some], create_graph=True
    )
    back = dict(zip(wanted, found, strict=True))
    return (*(back.get(i) for i in range(4)), None, None, None)


def composed(inputs: Inputs, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same equation in plain torch: context, log-normaliser, weights."""
    a, b, v, allowed, bias = inputs
    energies = tanh_energies(a, b, v)
    if bias is not None:
        energies = energies + bias
    if allowed is not None:
        energies = torch.where(allowed, energies, -math.inf)
    dead = torch.isneginf(energies).all(-1, keepdim=True)
    energies = energies.masked_fill(dead, 0)
    weights = torch.softmax(energies, -1).masked_fill(dead, 0)
    log_normalizer = torch.logsumexp(energies, -1).masked_fill(dead.squeeze(-1), -math.inf)
    return weights @ value.to(weights.dtype), log_normalizer, weights
