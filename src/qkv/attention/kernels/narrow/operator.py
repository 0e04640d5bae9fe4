"""Local attention (Luong, Pham and Manning 2015, section 3.2) in one go each way, on a CPU.

Each query meets the keys of its own run alone, T * (2 D + 1) pairs; the Gaussian around a
predicted position is in the loops, with its gradient. Where the backward pass is recorded
(create_graph=True), the gradient is that of the equation in plain torch.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from qkv.attention.kernels.narrow import compiled
from qkv.attention.kernels.narrow.compiled import Form, Inputs, Made
from qkv.attention.kernels.narrow.equation import composed, spread
from qkv.attention.result import Attended
from qkv.attention.reweighters.gaussian import Gaussian
from qkv.attention.scores.score import AdditiveScore, DotScore

if TYPE_CHECKING:
    from qkv.attention.work import Work


def run(work: Work) -> Attended:
    """Attend; of all pairs nothing is kept but the weights of each run, for a way back."""
    inputs, form = _inputs(work), _form(work)
    given = [tensor for tensor in inputs if tensor is not None]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given):
        context, logs, mixed = _Narrow.apply(*inputs, form)
    else:
        made = compiled.forward(
            inputs, form, keep=False, weigh=work.need == "weights", log=work.need == "stats"
        )
        context, logs, mixed = made.context, made.log_normalizer, made.mixed
    leading, keys = work.leading, work.key.shape[-2]
    weights = None
    if work.need == "weights":
        weights = spread(mixed, form, keys).to(work.query.dtype)
        weights = weights.view(*leading, *weights.shape[1:])
    return Attended(
        context.view(*leading, *context.shape[1:]).to(work.value.dtype),
        weights,
        logs.view(*leading, -1) if work.need == "stats" else None,
    )


def _inputs(work: Work) -> Inputs:
    """Query, key and value in what the loops compute in, with one leading dimension."""
    score, leading, reweighter = work.slots.score, work.leading, work.slots.reweighter
    v, centre = None, None
    if isinstance(score, AdditiveScore):
        query, v = score.to_hidden(work.query), score.v
    else:
        assert isinstance(score, DotScore)
        query = score.project_query(work.query)
    wide = torch.promote_types(work.key.dtype, torch.float32)
    if isinstance(reweighter, Gaussian):
        rows = reweighter.of_rows((*leading, query.shape[-2]), wide)
        centre = _rows(rows, work)
    return Inputs(
        _flat(query.to(wide), leading),
        _items(work.key.to(wide), leading),
        None if v is None else v.to(wide).contiguous(),
        _items(work.value.to(wide), leading),
        centre,
    )


def _items(tensor: Tensor, leading: torch.Size) -> Tensor:
    """Bring the leading dimensions to one, of size 1 where all items share the memory."""
    steps = zip(tensor.shape[:-2], tensor.stride()[:-2], strict=True)
    if leading.numel() > 1 and all(size == 1 or step == 0 for size, step in steps):
        return tensor[(0,) * (tensor.dim() - 2)].unsqueeze(0).contiguous()
    return _flat(tensor, leading)


def _flat(tensor: Tensor, leading: torch.Size) -> Tensor:
    """Bring the leading dimensions to one."""
    if tensor.shape[:-2] != leading:
        tensor = tensor.expand(*leading, *tensor.shape[-2:])
    if len(leading) != 1:
        tensor = tensor.reshape(-1, *tensor.shape[-2:])
    return tensor if tensor.is_contiguous() else tensor.contiguous()


def _rows(rows: Tensor, work: Work) -> Tensor:
    """Bring one number a query to [items, queries]."""
    rows = rows.expand(*work.leading, work.query.shape[-2])
    return rows.reshape(-1, rows.shape[-1]).contiguous()


def _form(work: Work) -> Form:
    runs, score, reweighter = work.runs, work.slots.score, work.slots.reweighter
    assert runs is not None
    scale = score.scale(work.key.shape[-1]) if isinstance(score, DotScore) else 1.0
    sigma = reweighter.sigma if isinstance(reweighter, Gaussian) else math.inf
    return Form(_rows(runs.first, work), _rows(runs.stop, work), runs.most, scale, sigma)


class _Narrow(torch.autograd.Function):
    """Context, log-normaliser and the weights of each run, with two ways back."""

    @staticmethod
    def forward(
        ctx: Any,
        a: Tensor,
        b: Tensor,
        v: Tensor | None,
        value: Tensor,
        centre: Tensor | None,
        form: Form,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        inputs = Inputs(a, b, v, value, centre)
        made = compiled.forward(inputs, form, keep=True, weigh=True, log=True)
        ctx.save_for_backward(*inputs, *made)
        ctx.form = form
        ctx.set_materialize_grads(False)
        return made.context, made.log_normalizer, made.mixed

    @staticmethod
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Tensor | None, ...]:
        inputs = Inputs(*ctx.saved_tensors[:5])
        needed = ctx.needs_input_grad[:5]
        if torch.is_grad_enabled():
            found = _recorded(needed, inputs, ctx.form, given)
        else:
            made = Made(*ctx.saved_tensors[5:])
            to_context, *others = (None if t is None else t.contiguous() for t in given)
            if to_context is None:
                to_context = torch.zeros_like(made.context)
            found = compiled.backward(inputs, ctx.form, made, (to_context, others[0], others[1]))
        return (*(t if n else None for t, n in zip(found, needed, strict=True)), None)


def _recorded(
    needed: tuple[bool, ...], inputs: Inputs, form: Form, given: tuple[Tensor | None, ...]
) -> tuple[Tensor | None, ...]:
    # Views: one tensor may serve as query, key and value, and must get each role's gradient once.
    own = Inputs._make(None if t is None else t.view_as(t) for t in inputs)
    wanted = {n: t for n, t in enumerate(own) if t is not None and needed[n]}
    some = [(x, g) for x, g in zip(composed(own, form), given, strict=True) if g is not None]
    found = torch.autograd.grad(
        [x for x, _ in some], list(wanted.values()), [g for _, g in some], create_graph=True
    )
    back = dict(zip(wanted, found, strict=True))
    return tuple(back.get(n) for n in range(5))
