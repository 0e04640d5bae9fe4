"""The additive kernels: energies without anything of size queries x keys x hidden, then the rest.

The gradient of an energy is found again from query and key; recorded (create_graph=True), it is
that of the equation in plain torch, which can be differentiated again (see kernels/twice.py).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from qkv.attention.kernels.additive import compiled, tiled, triton_ways
from qkv.attention.kernels.additive.ranges import centre
from qkv.attention.kernels.reference import finish
from qkv.attention.scores.score import AdditiveScore, at_least_float32, tanh_energies

if TYPE_CHECKING:
    from collections.abc import Callable

    from qkv.attention.result import Attended
    from qkv.attention.work import Work


class Way(NamedTuple):
    """One way to compute v . tanh(a + b) and, from its gradient g, those of a, b and v.

    energies(a, b, v, allowed): a pair that is not allowed may get any number.
    gradients(a, b, v, g): where g is 0 nothing needs to be computed.
    """

    energies: Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]
    gradients: Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


TILED = Way(tiled.energies, tiled.gradients)
COMPILED = Way(compiled.energies, compiled.gradients)
TRITON = Way(triton_ways.energies, triton_ways.gradients)


def run(work: Work) -> Attended:
    """Attend in plain torch, tile by tile."""
    return finish(work, _energies(work, TILED))


def run_compiled(work: Work) -> Attended:
    """Attend in compiled loops."""
    return finish(work, _energies(work, COMPILED))


def run_triton(work: Work) -> Attended:
    """Attend with the energies of Triton kernels."""
    return finish(work, _energies(work, TRITON))


def remark(work: Work) -> str | None:
    """Say where each pair must take an exponential of its own."""
    a, b, _ = _hidden(work)
    if centre(a, b) is not None:
        return None
    return (
        "queries and keys both vary too much for exp(2a) exp(2b), so pairs take an exponential "
        "each, exact and slower"
    )


def _hidden(work: Work) -> tuple[Tensor, Tensor, torch.Size]:
    """Query and key, projected, with one leading dimension; and what that one was."""
    score = work.slots.score
    assert isinstance(score, AdditiveScore)
    query, key = at_least_float32(score.to_hidden(work.query)), at_least_float32(work.key)
    leading = torch.broadcast_shapes(query.shape[:-2], key.shape[:-2])
    return _items(query, leading), _items(key, leading), leading


def _energies(work: Work, way: Way) -> Tensor:
    a, b, leading = _hidden(work)
    assert isinstance(work.slots.score, AdditiveScore)
    v = work.slots.score.v.to(b.dtype)
    inputs = a, b, v, _allowed(work, leading)
    if torch.is_grad_enabled() and (a.requires_grad or b.requires_grad or v.requires_grad):
        energies: Tensor = _Energies.apply(*inputs, way)
    else:
        energies = way.energies(*inputs)
    return energies.view(*leading, *energies.shape[-2:])


def _items(tensor: Tensor, leading: torch.Size) -> Tensor:
    """Bring the leading dimensions to one."""
    if tensor.shape[:-2] != leading:
        tensor = tensor.expand(*leading, *tensor.shape[-2:])
    return tensor.reshape(math.prod(leading), *tensor.shape[-2:])


def _allowed(work: Work, leading: torch.Size) -> Tensor | None:
    """The pairs to compute, [items, queries, keys]; None for all of them."""
    if work.visible is None:
        return None
    allowed = work.visible.allowed
    full = (*leading, work.query.shape[-2], work.key.shape[-2])
    if torch.broadcast_shapes(allowed.shape, full) != full:  # energies that several masks share
        return None
    return _items(allowed.expand(full), leading)


class _Energies(torch.autograd.Function):
    """v . tanh(a + b), with two ways back."""

    @staticmethod
    def forward(
        ctx: Any, a: Tensor, b: Tensor, v: Tensor, allowed: Tensor | None, way: Way
    ) -> Tensor:
        ctx.save_for_backward(a, b, v)
        ctx.way = way
        return way.energies(a, b, v, allowed)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        a, b, v = ctx.saved_tensors
        if not torch.is_grad_enabled():
            found = ctx.way.gradients(a, b, v, gradient)
            return (
                *(
                    t if needed else None
                    for t, needed in zip(found, ctx.needs_input_grad[:3], strict=True)
                ),
                None,
                None,
            )
        # Views: one tensor may serve as query and key, and must get each role's gradient once.
        inputs = tuple(tensor.view_as(tensor) for tensor in (a, b, v))
        wanted = [i for i in range(3) if ctx.needs_input_grad[i]]
        some = torch.autograd.grad(
            tanh_energies(*inputs), [inputs[i] for i in wanted], gradient, create_graph=True
        )
        back = dict(zip(wanted, some, strict=True))
        return back.get(0), back.get(1), back.get(2), None, None
