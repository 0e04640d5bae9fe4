"""The additive energies, softmax and context, and their gradients, in Triton kernels: extra `gpu`.

Forward nothing of size queries x keys is kept unless the weights are asked for. Backward, the
weights are found again from the log-normaliser, some queries at a time, so that what is held of
them stays bounded; every sum has one order, so that two runs give the same bits.

QKV_TRITON=0 switches this off. TRITON_INTERPRET=1, set before Triton is imported, runs the kernels
in Python on tensors of the CPU: that is how they are tested.
"""

from __future__ import annotations

import math
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from qkv.attention.kernels.additive import absence
from qkv.attention.kernels.additive.equation import Inputs
from qkv.attention.kernels.additive.ranges import LIMITS, middle
from qkv.attention.scores.score import tanh_energies

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxtyping import Bool, Float

UNROLL, PADDED = 4, 128
"""Dimensions that a kernel takes in one step; the largest block of queries or keys that it makes.

What a kernel goes through is filled up to multiples of these, so that it need not look where it
ends."""
CHUNK = 32
"""Of the other side, what `side` leaves out together where it has no gradient."""
HELD, TOGETHER = 2**24, 128
"""Numbers that the backward pass holds of each thing that it has of all pairs; it takes queries by
multiples of so many."""


class Blocks(NamedTuple):
    """Sizes of a tile, powers of two, and the warps that share it."""

    rows: int
    columns: int
    warps: int


class _Sides(NamedTuple):
    """Exponentials of both sides, or twice the numbers themselves where an item is `exact`.

    a and b are [items, time, hidden]; a_by_hidden and b_by_hidden [items, hidden, time], filled up
    with zeros to what a kernel takes at once. v is -2v, filled up as well, and then come 16
    numbers whose sum is that of the v given.
    """

    a: Tensor
    b: Tensor
    a_by_hidden: Tensor
    b_by_hidden: Tensor
    v: Tensor
    exact: Tensor


@cache
def absent() -> str | None:
    """Say why the kernels cannot be used; None if they can. Found out once, at first use."""
    lacking = absence.lacking("triton", "QKV_TRITON", "Triton", "gpu")
    return lacking or absence.wrong("Triton", _agrees, _no_device)


def _no_device() -> str | None:
    return None if torch.cuda.is_available() or _interpreted() else "without a GPU"


def energies(
    a: Float[Tensor, "items queries hidden"],
    b: Float[Tensor, "items keys hidden"],
    v: Float[Tensor, " hidden"],
    allowed: Bool[Tensor, "items queries keys"] | None,
) -> Float[Tensor, "items queries keys"]:
    """Return v . tanh(a + b); tiles whose pairs are all forbidden are left out, as zeros."""
    inputs = Inputs(a, b, v, allowed)
    out = a.new_zeros(a.shape[0], a.shape[1], b.shape[1])
    _pairs(inputs, _sides(inputs), out)
    return out


def gradients(
    a: Float[Tensor, "items queries hidden"],
    b: Float[Tensor, "items keys hidden"],
    v: Float[Tensor, " hidden"],
    g: Float[Tensor, "items queries keys"],
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of a, b and v for g, that of the energies."""
    return _both_sides(_sides(Inputs(a, b, v)), v, g.contiguous())


def forward(
    inputs: Inputs, value: Float[Tensor, "items keys value_dim"], keep: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return context, log-normaliser and, with `keep`, the energies; -inf where none may meet."""
    sides, value = _sides(inputs), value.contiguous()
    (items, queries, _), keys, read = inputs.a.shape, inputs.b.shape[1], value.shape[-1]
    blocks, part = _forward_blocks(queries, keys, read)
    context = inputs.a.new_empty(items, queries, read)
    log_normalizer = inputs.a.new_empty(items, queries)
    found = inputs.a.new_full((items, queries, keys), -math.inf) if keep else None
    allowed, bias = inputs.allowed, inputs.bias
    with torch.cuda.device_of(value):
        _kernels().forward[items * -(-queries // blocks.rows), -(-read // part)](
            sides.a_by_hidden,
            sides.b_by_hidden,
            sides.v,
            sides.exact,
            value,
            _bytes(allowed),
            bias,
            context,
            log_normalizer,
            found,
            (queries, keys, sides.a_by_hidden.shape[1], read),
            sides.a_by_hidden.stride()[:2],
            sides.b_by_hidden.stride()[:2],
            _steps(allowed),
            _steps(bias),
            **_division(inputs.a),
            ROWS=blocks.rows,
            COLUMNS=blocks.columns,
            READ=part,
            num_warps=blocks.warps,
        )
    return context, log_normalizer, found


def backward(
    inputs: Inputs,
    value: Float[Tensor, "items keys value_dim"],
    log_normalizer: Float[Tensor, "items queries"],
    mean: Float[Tensor, "items queries"],
    to_context: Float[Tensor, "items queries value_dim"],
    to_weights: Float[Tensor, "items queries keys"] | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of a, b, v and the values.

    mean: sum_j w_ij g_ij, g the gradient of the weights by either way, less that of the
    log-normaliser; the gradient of an energy is w_ij (g_ij - mean_i).
    """
    a, b, v, allowed, bias = inputs
    sides = _sides(inputs)
    value = value.to(a.dtype)
    to_a, to_b = torch.empty_like(a), torch.zeros_like(b)
    to_v, to_value = torch.zeros_like(v), torch.zeros_like(value)
    for n, i in _some(a.shape[0], a.shape[1], b.shape[1]):
        slopes = to_context[n, i] @ value[n].mT
        if to_weights is not None:
            slopes += to_weights[n, i]
        weights = torch.empty_like(slopes)
        part = Inputs(a[n, i], b[n], v, _cut(allowed, n, i), _cut(bias, n, i))
        own = _Sides(
            sides.a[n, i],
            sides.b[n],
            sides.a_by_hidden[n, :, i],
            sides.b_by_hidden[n],
            sides.v,
            sides.exact[n],
        )
        _pairs(part, own, slopes, (log_normalizer[n, i], mean[n, i], weights))
        to_value[n] += weights.mT @ to_context[n, i]
        to_a[n, i], more_b, more_v = _both_sides(own, v, slopes)
        to_b[n] += more_b
        to_v += more_v
    return to_a, to_b, to_v, to_value


def _sides(inputs: Inputs) -> _Sides:
    """Take the exponentials; no number comes back from the device."""
    a, b, v = (t.detach() for t in inputs[:3])
    found = middle(a, b)
    exponentials = (
        torch.where(
            found.holds,
            ((side + shift).clamp(-found.limit, found.limit) * 2).exp_(),
            2 * side,
        )
        for side, shift in ((a, found.shift), (b, -found.shift))
    )
    a, b = exponentials
    missing = -v.shape[0] % UNROLL
    a_by_hidden, b_by_hidden = (
        F.pad(side.mT, (0, -side.shape[1] % _padded(side.shape[1]), 0, missing)).contiguous()
        for side in (a, b)
    )
    v = torch.cat((-2 * v, v.new_zeros(missing), v.sum(0, keepdim=True), v.new_zeros(15)))
    exact = (~found.holds).view(-1).to(torch.int32)
    return _Sides(a, b, a_by_hidden, b_by_hidden, v, exact)


def _pairs(
    inputs: Inputs, sides: _Sides, out: Tensor, back: tuple[Tensor, Tensor, Tensor] | None = None
) -> None:
    """Fill `out` with the energies, or, on the way back, with their gradient; see the kernel."""
    (items, queries, _), keys = inputs.a.shape, inputs.b.shape[1]
    blocks = _tile(queries, keys)
    tiles = -(-queries // blocks.rows) * -(-keys // blocks.columns)
    log_normalizer, mean, weights = (None, None, None) if back is None else back
    with torch.cuda.device_of(out):
        _kernels().pairs[(items * tiles,)](
            sides.a_by_hidden,
            sides.b_by_hidden,
            sides.v,
            sides.exact,
            _bytes(inputs.allowed),
            inputs.bias,
            None if log_normalizer is None else log_normalizer.contiguous(),
            None if mean is None else mean.contiguous(),
            weights,
            out,
            (queries, keys, sides.a_by_hidden.shape[1]),
            sides.a_by_hidden.stride()[:2],
            sides.b_by_hidden.stride()[:2],
            _steps(inputs.allowed),
            _steps(inputs.bias),
            **_division(out),
            ROWS=blocks.rows,
            COLUMNS=blocks.columns,
            num_warps=blocks.warps,
        )


def _both_sides(sides: _Sides, v: Tensor, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of a, b and v from g [items, queries, keys], contiguous."""
    to_a, _ = _side(sides.a, sides.b, g.mT.contiguous(), sides.exact, False)
    to_b, ratios = _side(sides.b, sides.a, g, sides.exact, True)
    assert ratios is not None
    scale = 4 * v
    return to_a.mul_(scale), to_b.mul_(scale), g.sum() - 2 * ratios.sum((0, 1))


def _side(
    own: Tensor, other: Tensor, g: Tensor, exact: Tensor, for_v: bool
) -> tuple[Tensor, Tensor | None]:
    (items, rows, hidden), others = own.shape, other.shape[1]
    blocks = _side_blocks(rows, hidden)
    down = -(-rows // blocks.rows)
    to_own = own.new_empty(own.shape)
    ratios = own.new_empty(items, down, hidden) if for_v else None
    with torch.cuda.device_of(own):
        _kernels().side[items * down, -(-hidden // blocks.columns)](
            own,
            other,
            g,
            exact,
            to_own,
            ratios,
            (rows, others, hidden),
            (own.stride(0), other.stride(0)),
            **_division(own),
            ROWS=blocks.rows,
            PARTS=blocks.columns,
            CHUNK=min(CHUNK, _power(others, 2)),
            num_warps=blocks.warps,
        )
    return to_own, ratios


def _some(items: int, queries: int, keys: int) -> Iterator[tuple[slice, slice]]:
    """Some items, and of their queries as many as may be held at once."""
    rows = max(1, HELD // keys // TOGETHER) * TOGETHER
    together = max(1, HELD // (queries * keys))
    for n in range(0, items, together):
        for i in range(0, queries, rows):
            yield slice(n, min(n + together, items)), slice(i, min(i + rows, queries))


def _cut(pairs: Tensor | None, items: slice, rows: slice) -> Tensor | None:
    return None if pairs is None else pairs[items, rows]


def _division(numbers: Tensor) -> dict[str, Any]:
    """How far a divisor's half may go, and whether the device's own quick inverse will do."""
    quick = numbers.is_cuda and torch.version.hip is None and numbers.dtype == torch.float32
    return {"CAP": LIMITS[numbers.dtype].cap, "FAST": quick}


def _bytes(allowed: Tensor | None) -> Tensor | None:
    return None if allowed is None else allowed.view(torch.uint8)


def _padded(time: int) -> int:
    """The largest block that a kernel makes of so many queries or keys."""
    return min(_power(time, 16), PADDED)


def _steps(pairs: Tensor | None) -> tuple[int, ...]:
    return (0, 0, 0) if pairs is None else pairs.stride()


def _power(size: int, least: int) -> int:
    """The least power of two that `size` and `least` fit into."""
    return max(least, 1 << (size - 1).bit_length())


def _forward_blocks(queries: int, keys: int, read: int) -> tuple[Blocks, int]:
    """Tiles of `forward`, and columns of the values a program: what it sums stays in registers."""
    part = min(512, _power(read, 16))
    rows = min(_power(queries, 1), 16 if part > 256 else 32)
    columns = min(_power(keys, 16), 32 if part > 128 else 64)
    return Blocks(rows, columns, 4), part


def _tile(queries: int, keys: int) -> Blocks:
    """Tiles of `pairs`: 32 numbers a thread."""
    rows = min(_power(queries, 1), 64)
    return Blocks(rows, min(_power(keys, 16), 4096 // rows, 128), 4)


def _side_blocks(rows: int, hidden: int) -> Blocks:
    """Tiles of `side`: 16 numbers a thread, of each of three tensors."""
    columns = min(_power(hidden, 1), 64)
    return Blocks(min(_power(rows, 1), 2048 // columns, 32), columns, 4)


@cache
def _kernels() -> Any:
    return import_module("qkv.attention.kernels.additive.triton_kernels")


def _interpreted() -> bool:
    return bool(import_module("triton").knobs.runtime.interpret)


@torch.inference_mode(False)  # the first call may come from a search, which records nothing
@torch.enable_grad()
def _agrees() -> bool:
    """Whether a small example gives what the equation gives, to a few roundings a term."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    draw = torch.Generator().manual_seed(0)
    sizes = (2, 3, 7), (2, 5, 7), (7,), (2, 5, 11), (2, 3, 11)
    a, b, v, value, g = (torch.randn(size, generator=draw).to(device) for size in sizes)
    exact = [t.double().requires_grad_() for t in (a, b, v, value)]
    weights = torch.softmax(tanh_energies(*exact[:3]), -1)
    context = weights @ exact[3]
    found = torch.autograd.grad(context, exact, g.double())
    with torch.no_grad():
        inputs = Inputs(a, b, v)
        mine, log_normalizer, _ = forward(inputs, value, False)
        mean = (g * mine).sum(-1)
        back = backward(inputs, value, log_normalizer, mean, g, None)
    return absence.close((mine, *back), (context.detach(), *found))
