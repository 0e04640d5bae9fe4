"""Layers with parameters, built from the mechanism."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qkv.nn.cache import KeyValueCache
    from qkv.nn.multi_head import MultiHeadAttention

_EXPORTS = {"KeyValueCache": "qkv.nn.cache", "MultiHeadAttention": "qkv.nn.multi_head"}

__all__ = ["KeyValueCache", "MultiHeadAttention"]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
