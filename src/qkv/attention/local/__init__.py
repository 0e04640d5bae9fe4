"""Local attention: each query reads a window alone. `LOCALS` is the list of the ways to place it.

qkv.Attention(score="dot", local=qkv.local.LocalP(query_dim, window=10))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from qkv.attention.registry import find

if TYPE_CHECKING:
    from qkv.attention.local.local import Local
    from qkv.attention.local.local_m import LocalM
    from qkv.attention.local.local_p import LocalP

LOCALS = {
    "local-m": "qkv.attention.local.local_m:LocalM",
    "local-p": "qkv.attention.local.local_p:LocalP",
}

__all__ = ["LOCALS", "Local", "LocalM", "LocalP", "build"]


def build(name: str, *, query_dim: int, window: int) -> Local:
    """Build the local attention called `name` for queries of this width.

    Raises:
        ValueError: unknown name, or a window below 1.
    """
    local: Local = find("scope", name, LOCALS).sized(query_dim, window)
    return local


def __getattr__(name: str) -> Any:
    homes = {target.partition(":")[2]: target.partition(":")[0] for target in LOCALS.values()}
    homes["Local"] = "qkv.attention.local.local"
    if name not in homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(homes[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
