"""Layers with parameters, built from the mechanism."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qkv.nn.cache import KeyValueCache
    from qkv.nn.memory_network import MemoryNetwork
    from qkv.nn.multi_head import MultiHeadAttention
    from qkv.nn.ntm import NeuralTuringMachine, NTMState

_EXPORTS = {
    "KeyValueCache": "qkv.nn.cache",
    "MemoryNetwork": "qkv.nn.memory_network",
    "MultiHeadAttention": "qkv.nn.multi_head",
    "NTMState": "qkv.nn.ntm",
    "NeuralTuringMachine": "qkv.nn.ntm",
}

__all__ = [
    "KeyValueCache",
    "MemoryNetwork",
    "MultiHeadAttention",
    "NTMState",
    "NeuralTuringMachine",
]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
