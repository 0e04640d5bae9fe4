"""Masks: which query i and key j may meet. One file a pattern, composed with & | ~."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qkv.attention.masks.mask import Mask
    from qkv.attention.masks.patterns import (
        bigbird,
        longformer,
        sparse_transformer_fixed,
        sparse_transformer_strided,
        star_transformer,
    )
    from qkv.attention.masks.visible import Visible

MASKS = {
    "keep": "qkv.attention.masks.keep:Keep",
    "lengths": "qkv.attention.masks.lengths:Lengths",
    "causal": "qkv.attention.masks.causal:Causal",
    "window": "qkv.attention.masks.window:Window",
    "dilated": "qkv.attention.masks.dilated:Dilated",
    "strided": "qkv.attention.masks.strided:Strided",
    "block": "qkv.attention.masks.block:Block",
    "global_": "qkv.attention.masks.global_:Global",
    "random": "qkv.attention.masks.random:Random",
    "around": "qkv.attention.masks.around:Around",
    "per_head": "qkv.attention.masks.per_head:PerHead",
}
PATTERNS = {
    "sparse_transformer_strided": "qkv.attention.masks.patterns:sparse_transformer_strided",
    "sparse_transformer_fixed": "qkv.attention.masks.patterns:sparse_transformer_fixed",
    "longformer": "qkv.attention.masks.patterns:longformer",
    "bigbird": "qkv.attention.masks.patterns:bigbird",
    "star_transformer": "qkv.attention.masks.patterns:star_transformer",
}

__all__ = [
    "MASKS",
    "PATTERNS",
    "Mask",
    "Visible",
    "bigbird",
    "longformer",
    "sparse_transformer_fixed",
    "sparse_transformer_strided",
    "star_transformer",
]


def __getattr__(name: str) -> Any:
    homes = {"Mask": "mask", "Visible": "visible"} | dict.fromkeys(PATTERNS, "patterns")
    if name not in homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{homes[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
