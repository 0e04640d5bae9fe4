"""Local attention in loops that numba compiles: from tensors to tasks.

QKV_NUMBA=0 switches them off; compiled code is kept as that of the additive loops is.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from qkv.attention.kernels.additive import absence
from qkv.attention.kernels.additive.compiled import entry
from qkv.attention.kernels.additive.task import LANES, rounded
from qkv.attention.kernels.additive.threads import count, share
from qkv.attention.kernels.narrow.equation import composed, read_alone, spread
from qkv.attention.kernels.narrow.task import (
    ALPHA,
    BLOCK,
    CENTRE,
    CHUNK,
    CONTEXT,
    FIRST,
    ITEMS,
    LOG,
    MIXED,
    MOST,
    RATES,
    REACH,
    SCRATCH,
    SHARED,
    SHARED_VALUE,
    SIZE,
    SLOPE,
    SLOTS,
    STOP,
    TO_A,
    TO_B,
    TO_CENTRE,
    TO_MIXED,
    TO_V,
    TO_VALUE,
    UNITS,
    VALUE,
    A,
    B,
    V,
)

if TYPE_CHECKING:
    from jaxtyping import Float, Int

DENSE = 3
"""Where runs are longer than this share of the keys, sums over them are products of matrices."""


class Inputs(NamedTuple):
    """What is attended to. v: None where energies are products, and not v . tanh of a sum.

    b, value: of one item where all share them. centre: of the Gaussian; None where there is none.
    """

    a: Float[Tensor, "items queries hidden"]
    b: Float[Tensor, "items keys hidden"]
    v: Float[Tensor, " hidden"] | None
    value: Float[Tensor, "items keys value_dim"]
    centre: Float[Tensor, "items queries"] | None


@dataclass(frozen=True, eq=False)
class Form:
    """The run of each query, and the numbers of the score and the Gaussian.

    most: keys of a run at most. sigma: inf where there is no Gaussian.
    """

    first: Int[Tensor, "items queries"]
    stop: Int[Tensor, "items queries"]
    most: int
    scale: float
    sigma: float


class Made(NamedTuple):
    """What a pass forward finds; a column of the weights is a key's place in its query's run.

    alpha: the softmax's, and mixed: those that multiply the values; None where not wanted.
    """

    context: Float[Tensor, "items queries value_dim"]
    log_normalizer: Float[Tensor, "items queries"] | None
    mixed: Float[Tensor, "items queries most"] | None
    alpha: Float[Tensor, "items queries most"] | None


@cache
def absent() -> str | None:
    """Say why the loops cannot be used; None if they can. Found out once, at first use."""
    return absence.lacking("numba", "QKV_NUMBA", "numba", "fast") or absence.wrong(
        "numba", _agrees
    )


def forward(inputs: Inputs, form: Form, keep: bool, weigh: bool, log: bool) -> Made:
    """Attend. keep: all that the way back needs. weigh: the weights alone."""
    a, value = inputs.a, inputs.value
    rows = a.shape[:2]
    context = a.new_empty(*rows, value.shape[-1])
    logs = a.new_empty(rows) if log else None
    mixed = a.new_empty(*rows, form.most) if keep or weigh else None
    alpha = a.new_empty(*rows, form.most) if keep and inputs.centre is not None else None
    made = {CONTEXT: context, LOG: logs, MIXED: mixed, ALPHA: alpha}
    # As `_tools` in `loops` cuts it.
    size = rounded(form.most, LANES) + (7 + CHUNK + REACH * form.most) * a.shape[2]
    _start("attend", inputs, form, _chunks(a), size, made)
    return Made(context, logs, mixed, mixed if alpha is None else alpha)


def backward(
    inputs: Inputs,
    form: Form,
    made: Made,
    given: tuple[Tensor, Tensor | None, Tensor | None],
) -> tuple[Tensor | None, ...]:
    """Return the gradients of the inputs for those of context, log-normaliser and weights."""
    a, b, v, value, centre = inputs
    to_context, to_logs, to_mixed = given
    items = len(a)
    assert made.mixed is not None
    slope = torch.empty_like(made.mixed)
    to_centre = None if centre is None else torch.empty_like(centre)
    sent = {CONTEXT: to_context, LOG: to_logs, TO_MIXED: to_mixed, ALPHA: made.alpha}
    size = rounded(form.most, LANES)
    found = {SLOPE: slope, TO_CENTRE: to_centre}
    _start("slopes", inputs, form, _chunks(a), size, {**sent, **found})
    if v is None and DENSE * form.most > b.shape[1]:
        return (*_multiplied(inputs, form, slope, made, to_context), to_centre)
    to_a, to_b = torch.empty_like(a), b.new_empty(items, *b.shape[1:])
    to_value = value.new_empty(items, *value.shape[1:])
    to_r = None if v is None else a.new_empty(items, a.shape[2])
    pairs = {SLOPE: slope, MIXED: made.mixed, CONTEXT: to_context}
    found = {TO_A: to_a, TO_B: to_b, TO_VALUE: to_value, TO_V: to_r}
    units = items * (-(-a.shape[2] // BLOCK) + -(-value.shape[2] // BLOCK))
    size = (10 + 2 * b.shape[1]) * BLOCK
    _start("sums", inputs, form, units, size, {**pairs, **found})
    to_v = None if to_r is None else slope.sum() - 2 * to_r.sum(0)
    return to_a, _together(to_b, b), to_v, _together(to_value, value), to_centre


def _multiplied(
    inputs: Inputs, form: Form, slope: Tensor, made: Made, to_context: Tensor
) -> tuple[Tensor | None, ...]:
    """The gradients of queries, keys and values as products of matrices."""
    a, b, _, value, _ = inputs
    assert made.mixed is not None
    keys = b.shape[1]
    slope, mixed = spread(slope * form.scale, form, keys), spread(made.mixed, form, keys)
    to_b, to_value = slope.mT @ a, mixed.mT @ to_context
    return slope @ read_alone(b, form), _together(to_b, b), None, _together(to_value, value)


def _together(each: Tensor, like: Tensor) -> Tensor:
    """Add the gradients of what all items share."""
    return each if len(each) == len(like) else each.sum(0, keepdim=True)


def _chunks(a: Tensor) -> int:
    return a.shape[0] * -(-a.shape[1] // CHUNK)


def _start(
    name: str, inputs: Inputs, form: Form, units: int, size: int, made: dict[int, Tensor | None]
) -> None:
    """Say where the tensors stand, and start the loops."""
    a, b, v, value, centre = inputs
    (items, queries, width), (keys, read) = a.shape, value.shape[1:]
    task: Any = (ctypes.c_int64 * SLOTS)()
    task[UNITS] = units
    task[ITEMS : MOST + 1] = [items, queries, keys, width, read, form.most]
    task[SHARED], task[SHARED_VALUE] = int(len(b) == items), int(len(value) == items)
    rates = _rates(form.sigma, form.scale, a.dtype)
    tensors = {A: a, B: b, V: v, VALUE: value, FIRST: form.first, STOP: form.stop}
    for at, tensor in (tensors | {CENTRE: centre, RATES: rates} | made).items():
        if tensor is not None:
            task[at] = tensor.data_ptr()
    threads = count(units, items * queries * form.most * max(width, read))
    scratch = a.new_empty(threads * size)
    task[SCRATCH], task[SIZE] = scratch.data_ptr(), size
    share(_loop(name, a.dtype), ctypes.addressof(task), threads)


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def _rates(sigma: float, scale: float, dtype: torch.dtype) -> Tensor:
    return torch.tensor([1 / (4 * sigma**2) if sigma < math.inf else 0.0, scale], dtype=dtype)


@cache
def _loop(name: str, dtype: torch.dtype) -> Any:
    bits = 64 if dtype == torch.float64 else 32
    return entry("qkv.attention.kernels.narrow.entries", f"{name}_{bits}")


@torch.inference_mode(False)  # the first call may come from a search, which records nothing
@torch.enable_grad()
def _agrees() -> bool:
    """Whether small examples give what the equation gives, to a few roundings a term."""
    draw = torch.Generator().manual_seed(0)
    sizes = (2, 9, 67), (2, 11, 67), (67,), (2, 11, 5), (2, 9), (2, 9, 5)
    a, b, v, value, centre, sent = (torch.randn(size, generator=draw) for size in sizes)
    first = torch.arange(9).expand(2, 9).contiguous()
    form = Form(first, (first + 3).clamp(max=10), 3, 0.3, 1.5)
    return all(_close(Inputs(a, b, own, value, first + centre), form, sent) for own in (None, v))


def _close(inputs: Inputs, form: Form, sent: Tensor) -> bool:
    exact = Inputs._make(None if t is None else t.double().requires_grad_() for t in inputs)
    want, _, weights = composed(exact, form)
    asked = [t for t in exact if t is not None]
    found = torch.autograd.grad(want, asked, sent.double())
    with torch.no_grad():
        made = forward(inputs, form, keep=True, weigh=True, log=False)
        back = [t for t in backward(inputs, form, made, (sent, None, None)) if t is not None]
    assert made.mixed is not None
    mine = (made.context, made.mixed, *back)
    return absence.close(mine, (want.detach(), weights.detach(), *found))
