"""Masks: which query i and key j may meet. One file a pattern, composed with & | ~."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qkv.attention.masks.mask import Mask
    from qkv.attention.masks.visible import Visible

MASKS = {
    "keep": "qkv.attention.masks.keep:Keep",
    "lengths": "qkv.attention.masks.lengths:Lengths",
    "causal": "qkv.attention.masks.causal:Causal",
}

__all__ = ["MASKS", "Mask", "Visible"]


def __getattr__(name: str) -> Any:
    if name not in ("Mask", "Visible"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{name.lower()}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
