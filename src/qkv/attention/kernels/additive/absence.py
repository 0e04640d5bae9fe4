"""Why kernels of another package cannot be used: it lacks, it fails, or it is wrong."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec

from torch import Tensor


def lacking(package: str, switch: str, name: str, extra: str) -> str | None:
    """Say that a variable of the environment switches it off, or that it is not installed."""
    if os.environ.get(switch) == "0":
        return f"{name}, which {switch}=0 switches off"
    return None if find_spec(package) else f"without {name} (pip install 'qkv[{extra}]')"


def wrong(
    name: str, agrees: Callable[[], bool], before: Callable[[], str | None] = lambda: None
) -> str | None:
    """Say what `before` says, that it fails, or that its results are others."""
    try:
        found = before()
        if found is None and not agrees():
            found = f"with a {name} whose results are not those of the reference"
    except Exception as failure:  # a broken installation must not stop who can do without
        return f"with a {name} that fails: {failure}"
    return found


def close(mine: Sequence[Tensor], wanted: Sequence[Tensor]) -> bool:
    """Whether float32 results of a small example are the exact ones, to a few roundings a term."""
    return all(
        bool((x - y).abs().max() < 1e-4 * (1 + y.abs().max()))
        for x, y in zip(mine, wanted, strict=True)
    )
