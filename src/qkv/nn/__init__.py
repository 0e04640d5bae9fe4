"""Layers with parameters, built from the mechanism."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qkv.nn.cache import KeyValueCache
    from qkv.nn.cross_attention import CrossAttention, Memory
    from qkv.nn.importance import head_importance
    from qkv.nn.masked_self_attention import MaskedSelfAttention
    from qkv.nn.memory_network import MemoryNetwork
    from qkv.nn.multi_head import MultiHeadAttention
    from qkv.nn.ntm import NeuralTuringMachine, NTMState
    from qkv.nn.self_attention import SelfAttention
    from qkv.nn.summed_cache import SummedCache

_EXPORTS = {
    "CrossAttention": "qkv.nn.cross_attention",
    "KeyValueCache": "qkv.nn.cache",
    "MaskedSelfAttention": "qkv.nn.masked_self_attention",
    "Memory": "qkv.nn.cross_attention",
    "MemoryNetwork": "qkv.nn.memory_network",
    "MultiHeadAttention": "qkv.nn.multi_head",
    "NTMState": "qkv.nn.ntm",
    "NeuralTuringMachine": "qkv.nn.ntm",
    "SelfAttention": "qkv.nn.self_attention",
    "SummedCache": "qkv.nn.summed_cache",
    "head_importance": "qkv.nn.importance",
}

__all__ = [
    "CrossAttention",
    "KeyValueCache",
    "MaskedSelfAttention",
    "Memory",
    "MemoryNetwork",
    "MultiHeadAttention",
    "NTMState",
    "NeuralTuringMachine",
    "SelfAttention",
    "SummedCache",
    "head_importance",
]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
