"""Additive attention with a softmax in one go each way: Triton on a GPU, loops on a CPU.

Where the backward pass is recorded (create_graph=True), the gradient is that of the equation in
plain torch, which can be differentiated again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from qkv.attention.kernels.additive import compiled, triton_ways
from qkv.attention.kernels.additive.equation import Inputs, composed
from qkv.attention.kernels.additive.operator import _items
from qkv.attention.result import Attended
from qkv.attention.scores.score import AdditiveScore, at_least_float32

if TYPE_CHECKING:
    from collections.abc import Callable

    from qkv.attention.work import Work


class Made(NamedTuple):
    """What a pass forward finds; None where it was not wanted."""

    context: Tensor
    log_normalizer: Tensor | None
    weights: Tensor | None


class Way(NamedTuple):
    """Both passes.

    forward(inputs, value, weights, log): with the weights, with the log-normaliser.
    backward(inputs, value, made, given): the gradients of a, b, v and value for those of what
        was made; that of the context is there.
    saved: what the way back wants to have, (weights, log).
    """

    forward: Callable[[Inputs, Tensor, bool, bool], Made]
    backward: Callable[[Inputs, Tensor, Made, tuple[Tensor | None, ...]], tuple[Tensor, ...]]
    saved: tuple[bool, bool]


def run(work: Work) -> Attended:
    """Attend by Triton; of all pairs nothing is kept but the weights, where they are asked for."""
    return _attend(work, TRITON)


def run_compiled(work: Work) -> Attended:
    """Attend by compiled loops; of all pairs nothing is kept but the weights, for a way back."""
    return _attend(work, COMPILED)


def _attend(work: Work, way: Way) -> Attended:
    score, leading = work.slots.score, work.leading
    assert isinstance(score, AdditiveScore)
    a, b = at_least_float32(score.to_hidden(work.query)), at_least_float32(work.key)
    given = (
        _items(a, leading).contiguous(),
        _items(b, leading).contiguous(),
        score.v.to(b.dtype),
        _items(work.value, leading),
        _allowed(work),
        _bias(work, b.dtype),
    )
    asked = work.need == "weights", work.need == "stats"
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given[:4]):
        made = Made(*_Fused.apply(*given, asked, way))
    else:
        a, b, v, value, *pairs = given
        made = way.forward(Inputs(a, b, v, *pairs), value, *asked)
    context, logs, weights = made
    return Attended(
        context.view(*leading, *context.shape[1:]).to(work.value.dtype),
        None
        if weights is None
        else weights.view(*leading, *weights.shape[1:]).to(work.query.dtype),
        None if logs is None else logs.view(*leading, -1),
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
    """What is asked for, and None where it is not, with two ways back."""

    @staticmethod
    def forward(  # noqa: PLR0913 - what is saved are its arguments
        ctx: Any,
        a: Tensor,
        b: Tensor,
        v: Tensor,
        value: Tensor,
        allowed: Tensor | None,
        bias: Tensor | None,
        asked: tuple[bool, bool],
        way: Way,
    ) -> Made:
        inputs = Inputs(a, b, v, allowed, bias)
        wanted = (one or other for one, other in zip(asked, way.saved, strict=True))
        made = way.forward(inputs, value, *wanted)
        ctx.save_for_backward(*inputs, value, *made)
        ctx.way = way
        ctx.set_materialize_grads(False)
        return Made(
            made.context,
            made.log_normalizer if asked[1] else None,
            made.weights if asked[0] else None,
        )

    @staticmethod
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Tensor | None, ...]:
        *inputs, value, context, log_normalizer, weights = ctx.saved_tensors
        needed = ctx.needs_input_grad
        if torch.is_grad_enabled():
            return _recorded(needed, Inputs(*inputs), value, given)
        to_context, *others = given
        to_context = torch.zeros_like(context) if to_context is None else to_context.contiguous()
        made = Made(context, log_normalizer, weights)
        found = ctx.way.backward(Inputs(*inputs), value, made, (to_context, *others))
        *sides, to_value = found
        found = (*sides, to_value.to(value.dtype))
        some = (t if n else None for t, n in zip(found, needed[:4], strict=True))
        return (*some, None, None, None, None)


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
    return (*(back.get(i) for i in range(4)), None, None, None, None)


def _triton_forward(inputs: Inputs, value: Tensor, weights: bool, log: bool) -> Made:
    context, log_normalizer, kept = triton_ways.forward(inputs, value, weights)
    if kept is not None:
        dead = torch.isneginf(log_normalizer)
        kept.sub_(log_normalizer.masked_fill(dead, 0).unsqueeze(-1)).exp_()
    return Made(context, log_normalizer if log else None, kept)


def _triton_backward(
    inputs: Inputs, value: Tensor, made: Made, given: tuple[Tensor | None, ...]
) -> tuple[Tensor, ...]:
    context, log_normalizer, weights = made
    to_context, to_log_normalizer, to_weights = given
    assert to_context is not None and log_normalizer is not None
    mean = (to_context * context).sum(-1)
    if to_log_normalizer is not None:
        mean -= to_log_normalizer
    if to_weights is not None and weights is not None:
        mean += (to_weights * weights).sum(-1)
    return triton_ways.backward(inputs, value, log_normalizer, mean, to_context, to_weights)


def _compiled_forward(inputs: Inputs, value: Tensor, weights: bool, log: bool) -> Made:
    return Made(*compiled.forward(inputs, value, weights, log))


def _compiled_backward(
    inputs: Inputs, value: Tensor, made: Made, given: tuple[Tensor | None, ...]
) -> tuple[Tensor, ...]:
    to_context, to_log_normalizer, to_weights = given
    assert to_context is not None and made.weights is not None
    return compiled.backward(
        inputs, value, made.weights, to_context, to_log_normalizer, to_weights
    )


TRITON = Way(_triton_forward, _triton_backward, (False, True))
COMPILED = Way(_compiled_forward, _compiled_backward, (True, False))
