"""The additive energies and their gradients in loops that numba compiles: the extra `fast`.

Compiled code is kept in the user's cache folder (XDG_CACHE_HOME, else ~/.cache), so that a machine
compiles once. QKV_NUMBA=0 switches this off.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Any

import torch

from qkv.attention.kernels.additive import absence
from qkv.attention.kernels.additive.equation import Inputs, composed
from qkv.attention.kernels.additive.task import (
    ALIGNED,
    BLOCK,
    BY_KEY,
    CONTEXT,
    FILLED,
    GRADIENT,
    HIDDEN,
    ITEMS,
    KEYS,
    KEYS_TOGETHER,
    LANES,
    LOG,
    MASK,
    PAIRS,
    QUERIES,
    READ,
    ROWS,
    SCRATCH,
    SIZE,
    SLOTS,
    SPAN,
    TO_A,
    TO_B,
    TO_V,
    TO_VALUE,
    TOGETHER,
    UNITS,
    VALUE,
    A,
    B,
    V,
    rounded,
)
from qkv.attention.kernels.additive.threads import count, share

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor

_BITS = {torch.float32: 32, torch.float64: 64}
PATIENCE = 1.0
"""Seconds without a word."""


@cache
def absent() -> str | None:
    """Say why the loops cannot be used; None if they can. Found out once, at first use."""
    return absence.lacking("numba", "QKV_NUMBA", "numba", "fast") or absence.wrong(
        "numba", _agrees
    )


def energies(
    a: Float[Tensor, "items queries hidden"],
    b: Float[Tensor, "items keys hidden"],
    v: Float[Tensor, " hidden"],
    allowed: Bool[Tensor, "items queries keys"] | None,
) -> Float[Tensor, "items queries keys"]:
    """Return v . tanh(a + b); blocks of pairs that are not allowed are left out, as 0."""
    out = a.new_empty(a.shape[0], a.shape[1], b.shape[1])
    _queries_in_turn("energies", Inputs(a, b, v, allowed), a.new_empty(0), {PAIRS: out})
    return out


def forward(
    inputs: Inputs, value: Float[Tensor, "items keys value_dim"], keep: bool, log: bool = True
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return context and, where wanted, log-normaliser and weights; 0 and -inf for dead rows."""
    a, b = inputs.a, inputs.b
    rows = a.shape[:2]
    context = a.new_empty(*rows, value.shape[-1])
    weights = a.new_empty(*rows, b.shape[1]) if keep else None
    logs = a.new_empty(rows) if log else None
    made = {CONTEXT: context, PAIRS: weights, LOG: logs}
    _queries_in_turn("attend", inputs, value.to(a.dtype), made)
    return context, logs, weights


def _queries_in_turn(
    name: str, inputs: Inputs, value: Tensor, made: dict[int, Tensor | None]
) -> None:
    a, b, v, allowed, _ = inputs
    (items, queries, hidden), keys, read = a.shape, b.shape[1], value.shape[-1]
    width, padded = rounded(hidden, ALIGNED), rounded(keys, LANES)
    # As `tools` in `forward`, and `attend` in `whole`, cut it.
    size = (TOGETHER + 9 + LANES + padded) * width + TOGETHER * (LANES + padded)
    units = items * -(-queries // ROWS)
    task = _task((items, queries, keys, hidden, read), units, size)
    if allowed is not None:
        task[MASK : BY_KEY + 1] = [allowed.data_ptr(), *allowed.stride()]
    _share(name, task, {A: a, B: b, V: v, VALUE: value, **made})


def backward(
    inputs: Inputs,
    value: Float[Tensor, "items keys value_dim"],
    weights: Float[Tensor, "items queries keys"],
    to_context: Float[Tensor, "items queries value_dim"],
    to_log: Float[Tensor, "items queries"] | None,
    to_weights: Float[Tensor, "items queries keys"] | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of a, b, v and the values."""
    a, b, v = inputs[:3]
    (items, queries, keys), read = weights.shape, value.shape[-1]
    value = value.to(a.dtype)
    g, *found = _side_by_side(a, (weights.shape, a.shape, b.shape, value.shape))
    if to_weights is not None:
        g.copy_(to_weights)
    to_a, to_b, to_value = found
    parts = 1 if _enough(items) else -(-queries // ROWS) + -(-keys // KEYS_TOGETHER)
    size = 5 * rounded(keys, LANES) + LANES
    task = _task((items, queries, keys, 0, read), items * parts, size)
    task[FILLED] = int(to_weights is not None)
    given = {VALUE: value, PAIRS: weights, CONTEXT: to_context, LOG: to_log}
    _share("slopes", task, {**given, GRADIENT: g, TO_VALUE: to_value})
    return to_a, to_b, _gradients(a, b, v, g, to_a, to_b), to_value


def gradients(
    a: Float[Tensor, "items queries hidden"],
    b: Float[Tensor, "items keys hidden"],
    v: Float[Tensor, " hidden"],
    g: Float[Tensor, "items queries keys"],
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of a, b and v for g, that of the energies."""
    to_a, to_b = a.new_empty(a.shape), b.new_empty(b.shape)
    return to_a, to_b, _gradients(a, b, v, g, to_a, to_b)


def _gradients(a: Tensor, b: Tensor, v: Tensor, g: Tensor, to_a: Tensor, to_b: Tensor) -> Tensor:
    """Fill the gradients of a and b, and return that of v."""
    (items, queries, hidden), keys = a.shape, b.shape[1]
    to_r = a.new_empty(items, hidden)
    span = rounded(hidden, BLOCK) if _enough(items) else BLOCK
    # As `gradients` in `backward` cuts it.
    size = (2 * keys + 12) * BLOCK + 4 * span + 5 * rounded(keys, ALIGNED) + ALIGNED
    task = _task((items, queries, keys, hidden, 0), items * -(-hidden // span), size)
    task[SPAN] = span
    _share("gradients", task, {A: a, B: b, V: v, GRADIENT: g, TO_A: to_a, TO_B: to_b, TO_V: to_r})
    return to_r.sum(0).mul_(-2)


def _enough(items: int) -> bool:
    """Whether threads may take whole items, whose rows lie together."""
    return items >= 4 * torch.get_num_threads()


def _side_by_side(like: Tensor, shapes: tuple[torch.Size, ...]) -> list[Tensor]:
    """New tensors in one piece of memory, each at the start of a vector.

    C's library gives a large piece back to the system when it is free, and what it gets anew costs
    more than the loops (a fault a page); it learns to keep pieces as large as one freed before.
    """
    sizes = [rounded(shape.numel(), ALIGNED) for shape in shapes]
    pieces = like.new_empty(sum(sizes)).split(sizes)
    return [
        piece[: shape.numel()].view(shape) for piece, shape in zip(pieces, shapes, strict=True)
    ]


def _task(sizes: tuple[int, ...], units: int, size: int) -> Any:
    """Return a task without addresses; sizes: as READ and those before it stand."""
    task = (ctypes.c_int64 * SLOTS)()
    task[UNITS], task[SIZE] = units, size
    task[ITEMS : READ + 1] = list(sizes)
    return task


def _share(name: str, task: Any, tensors: dict[int, Tensor | None]) -> None:
    """Say where the tensors stand, each number after the one before it, and start the loops."""
    held = {at: tensor.contiguous() for at, tensor in tensors.items() if tensor is not None}
    for at, tensor in held.items():
        task[at] = tensor.data_ptr()
    dtype = next(iter(held.values())).dtype
    pairs = task[ITEMS] * task[QUERIES] * task[KEYS]
    threads = count(task[UNITS], pairs * max(task[HIDDEN], task[READ]))
    scratch = torch.empty(threads * task[SIZE], dtype=dtype)
    task[SCRATCH] = scratch.data_ptr()
    share(loop(name, dtype), ctypes.addressof(task), threads)


def loop(name: str, dtype: torch.dtype) -> Any:
    """One of this folder's loops, by the name of its entry without the bits."""
    return entry("qkv.attention.kernels.additive.entries", f"{name}_{_BITS[dtype]}")


@cache
def entry(module: str, name: str) -> Any:
    """The compiled function; what it compiles to goes to a cache of ours, nobody else's moves."""
    soon = Timer(PATIENCE, _tell_why)
    soon.daemon = True
    soon.start()
    config: Any = import_module("numba.core.config")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    before = config.CACHE_DIR
    config.CACHE_DIR = str(Path(home) / "qkv" / "numba" / _version(module))
    try:
        function = getattr(import_module(module), name)
        compiled = import_module("numba").cfunc("void(int64)", cache=True)(function)
    finally:
        soon.cancel()
        config.CACHE_DIR = before
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(compiled.address)


@cache
def _tell_why() -> None:
    """Say, once a process, why nothing seems to happen."""
    logging.getLogger("qkv").warning(
        "compiling loops for this processor, which takes up to half a minute, once"
    )


@cache
def _version(module: str) -> str:
    """A name for this text of the loops: numba looks at one file of them alone."""
    found = find_spec(module)  # unread: what is read is compiled to where the cache is then
    assert found is not None and found.origin is not None
    folders = {Path(__file__).parent, Path(found.origin).parent}
    texts = sorted(text for folder in folders for text in folder.glob("*.py"))
    return hashlib.sha256(b"".join(text.read_bytes() for text in texts)).hexdigest()[:16]


@torch.inference_mode(False)  # the first call may come from a search, which records nothing
@torch.enable_grad()
def _agrees() -> bool:
    """Whether a small example gives what the equation gives, to a few roundings a term."""
    draw = torch.Generator().manual_seed(0)
    sizes = (2, 7, 67), (2, 9, 67), (67,), (2, 9, 5), (2, 7, 5)
    *given, sent = (torch.randn(size, generator=draw) for size in sizes)
    exact = [t.double().requires_grad_() for t in given]
    want, _, weights = composed(Inputs(*exact[:3]), exact[3])
    found = torch.autograd.grad(want, exact, sent.double())
    inputs = Inputs(*given[:3])
    with torch.no_grad():
        context, _, mine = forward(inputs, given[3], keep=True)
        assert mine is not None
        back = backward(inputs, given[3], mine, sent, None, None)
    return absence.close((context, mine, *back), (want.detach(), weights.detach(), *found))
