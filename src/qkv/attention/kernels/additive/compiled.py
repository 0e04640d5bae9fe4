"""The additive energies and their gradients in loops that numba compiles: the extra `fast`.

Compiled code is kept in the user's cache folder (XDG_CACHE_HOME, else ~/.cache), so that a machine
compiles once. QKV_NUMBA=0 switches this off.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from qkv.attention.kernels.additive import absence
from qkv.attention.kernels.additive.task import (
    ALIGNED,
    BLOCK,
    LANES,
    ROWS,
    SLOTS,
    TOGETHER,
    rounded,
)
from qkv.attention.kernels.additive.threads import count, share
from qkv.attention.scores.score import tanh_energies

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor

_BITS = {torch.float32: 32, torch.float64: 64}


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
    (items, queries, hidden), keys = a.shape, b.shape[1]
    a, b, v = a.contiguous(), b.contiguous(), v.contiguous()
    out = a.new_empty(items, queries, keys)
    width = rounded(hidden, ALIGNED)
    size = (TOGETHER + 8 + rounded(keys, LANES)) * width + TOGETHER * LANES
    mask = (0, 0, 0, 0) if allowed is None else (allowed.data_ptr(), *allowed.stride())
    units = items * -(-queries // ROWS)
    threads = count(units, out.numel() * hidden)
    scratch = a.new_empty(threads * size)
    sizes = units, items, queries, keys, hidden
    given = a.data_ptr(), b.data_ptr(), v.data_ptr(), out.data_ptr()
    task = _Task(0, 0, *sizes, *given, *mask, scratch.data_ptr(), size, 0, 0, 0)
    share(_entry("energies", a.dtype), ctypes.addressof(task), threads)
    return out


def gradients(
    a: Float[Tensor, "items queries hidden"],
    b: Float[Tensor, "items keys hidden"],
    v: Float[Tensor, " hidden"],
    g: Float[Tensor, "items queries keys"],
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of a, b and v for g, that of the energies."""
    (items, queries, hidden), keys = a.shape, b.shape[1]
    a, b, g = a.contiguous(), b.contiguous(), g.contiguous()
    to_a, to_b, to_r = torch.empty_like(a), torch.empty_like(b), a.new_empty(items, hidden)
    units = items * -(-hidden // BLOCK)
    threads = count(units, g.numel() * hidden)
    size = (2 * keys + 11) * BLOCK
    scratch = a.new_empty(threads * size)
    sizes = units, items, queries, keys, hidden
    given = a.data_ptr(), b.data_ptr(), 0, g.data_ptr(), 0, 0, 0, 0, scratch.data_ptr(), size
    made = to_a.data_ptr(), to_b.data_ptr(), to_r.data_ptr()
    task = _Task(0, 0, *sizes, *given, *made)
    share(_entry("gradients", a.dtype), ctypes.addressof(task), threads)
    scale = 4 * v
    return to_a.mul_(scale), to_b.mul_(scale), g.sum() - 2 * to_r.sum(0)


_Task = ctypes.c_int64 * SLOTS


def _entry(name: str, dtype: torch.dtype) -> Any:
    return entry("qkv.attention.kernels.additive.entries", f"{name}_{_BITS[dtype]}")


@cache
def entry(module: str, name: str) -> Any:
    """The compiled function; what it compiles to goes to a cache of ours, nobody else's moves."""
    config: Any = import_module("numba.core.config")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    before = config.CACHE_DIR
    config.CACHE_DIR = str(Path(home) / "qkv" / "numba" / _version(module))
    try:
        function = getattr(import_module(module), name)
        compiled = import_module("numba").cfunc("void(int64)", cache=True)(function)
    finally:
        config.CACHE_DIR = before
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(compiled.address)


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
    sizes = (2, 3, 67), (2, 5, 67), (67,), (2, 3, 5)
    a, b, v, g = (torch.randn(size, generator=draw) for size in sizes)
    exact = [t.double().requires_grad_() for t in (a, b, v)]
    want = tanh_energies(*exact)
    found = torch.autograd.grad(want, exact, g.double())
    with torch.no_grad():
        mine = energies(a, b, v, None), *gradients(a, b, v, g)
    return absence.close(mine, (want.detach(), *found))
