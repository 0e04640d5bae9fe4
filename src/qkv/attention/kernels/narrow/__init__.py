"""Local attention in compiled loops: each query and its own run of keys, and no other pair."""

from __future__ import annotations

from functools import cache


@cache
def absent() -> str | None:
    """Say why the loops cannot be used; None if they can. Found out once, at first use."""
    from qkv.attention.kernels.narrow import compiled

    return compiled.absent()
