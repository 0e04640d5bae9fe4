"""The additive energies and their gradients in loops that numba compiles: the extra `fast`.

Compiled code is kept in the user's cache folder (XDG_CACHE_HOME, else ~/.cache), so that a machine
compiles once. QKV_NUMBA=0 switches this off.
"""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from qkv.attention.kernels.additive.ranges import LIMITS
from qkv.attention.kernels.additive.threads import share
from qkv.attention.scores.score import tanh_energies

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor

_NO_MASK = np.zeros(1, bool), (-1, 0, 0)
_TYPES = {torch.float32: np.float32, torch.float64: np.float64}
NUMBERS = {  # of each dtype: cap, reach, saturation
    dtype: tuple(_TYPES[dtype](n) for n in (limits.cap, limits.reach, limits.saturation))
    for dtype, limits in LIMITS.items()
}


@cache
def absent() -> str | None:
    """Say why the loops cannot be used; None if they can. Found out once, at first use."""
    if os.environ.get("QKV_NUMBA") == "0":
        return "numba, which QKV_NUMBA=0 switches off"
    if find_spec("numba") is None:
        return "without numba (pip install 'qkv[fast]')"
    try:
        _loops()
    except Exception as failure:  # a broken installation must not stop who can do without
        return f"with a numba that fails: {failure}"
    return None if _agrees() else "with a numba whose results are not those of the reference"


def energies(
    a: Float[Tensor, "items queries hidden"],
    b: Float[Tensor, "items keys hidden"],
    v: Float[Tensor, " hidden"],
    allowed: Bool[Tensor, "items queries keys"] | None,
) -> Float[Tensor, "items queries keys"]:
    """Return v . tanh(a + b); a pair that is not allowed is left out, as 0."""
    (items, queries, hidden), keys = a.shape, b.shape[1]
    out = a.new_empty(items, queries, keys)
    loops = _loops()
    mask, steps = _NO_MASK if allowed is None else _flat(allowed)
    given = _array(a), _array(b), _array(v), mask, steps, NUMBERS[a.dtype], out.numpy()
    units = items * -(-queries // loops.ROWS)
    share(lambda *some: loops.energies(*given, some), units, out.numel() * hidden)
    return out


def gradients(
    a: Float[Tensor, "items queries hidden"],
    b: Float[Tensor, "items keys hidden"],
    v: Float[Tensor, " hidden"],
    g: Float[Tensor, "items queries keys"],
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of a, b and v for g, that of the energies."""
    items, _, hidden = a.shape
    to_a, to_b = torch.empty(a.shape, dtype=a.dtype), torch.empty(b.shape, dtype=b.dtype)
    to_r = a.new_empty(items, hidden)
    loops = _loops()
    made = to_a.numpy(), to_b.numpy(), to_r.numpy()
    given = _array(a), _array(b), _array(g), NUMBERS[a.dtype], *made
    units = items * -(-hidden // loops.BLOCK)
    share(lambda *some: loops.gradients(*given, some), units, g.numel() * hidden)
    scale = 4 * v
    return to_a.mul_(scale), to_b.mul_(scale), g.sum() - 2 * to_r.sum(0)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def _flat(allowed: Tensor) -> tuple[np.ndarray, tuple[int, int, int]]:
    """The mask as it lies in memory, stretched dimensions once, and its three steps."""
    steps = allowed.stride()
    size = 1 + sum((n - 1) * step for n, step in zip(allowed.shape, steps, strict=True))
    flat = allowed.as_strided((size,), (1,), allowed.storage_offset())
    return flat.numpy(), (steps[0], steps[1], steps[2])


@cache
def _loops() -> Any:
    """Import the loops; what they compile to goes to a cache of ours, nobody else's moves."""
    config: Any = import_module("numba.core.config")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    before = config.CACHE_DIR
    config.CACHE_DIR = str(Path(home) / "qkv" / "numba")
    try:
        return import_module("qkv.attention.kernels.additive.loops")
    finally:
        config.CACHE_DIR = before


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
    return all(
        bool((x - y).abs().max() < 1e-4 * (1 + y.abs().max()))
        for x, y in zip(mine, (want.detach(), *found), strict=True)
    )
