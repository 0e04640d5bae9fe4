"""Reweighters: w = reweight(alpha), after the normaliser. `REWEIGHTERS` is the list of them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qkv.attention.reweighters.chain import Chain
    from qkv.attention.reweighters.gaussian import Gaussian
    from qkv.attention.reweighters.interpolate import Interpolate
    from qkv.attention.reweighters.reweighter import Reweighter
    from qkv.attention.reweighters.sharpen import Sharpen
    from qkv.attention.reweighters.shift import Shift

REWEIGHTERS = {
    "gaussian": "qkv.attention.reweighters.gaussian:Gaussian",
    "interpolate": "qkv.attention.reweighters.interpolate:Interpolate",
    "shift": "qkv.attention.reweighters.shift:Shift",
    "sharpen": "qkv.attention.reweighters.sharpen:Sharpen",
    "chain": "qkv.attention.reweighters.chain:Chain",
}

__all__ = [
    "REWEIGHTERS",
    "Chain",
    "Gaussian",
    "Interpolate",
    "Reweighter",
    "Sharpen",
    "Shift",
]


def __getattr__(name: str) -> Any:
    homes = {target.partition(":")[2]: target.partition(":")[0] for target in REWEIGHTERS.values()}
    homes["Reweighter"] = "qkv.attention.reweighters.reweighter"
    if name not in homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(homes[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
