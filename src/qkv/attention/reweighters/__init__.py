"""Reweighters: w = reweight(alpha), after the normaliser. `REWEIGHTERS` is the list of them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qkv.attention.reweighters.gaussian import Gaussian
    from qkv.attention.reweighters.reweighter import Reweighter

REWEIGHTERS = {"gaussian": "qkv.attention.reweighters.gaussian:Gaussian"}

__all__ = ["REWEIGHTERS", "Gaussian", "Reweighter"]


def __getattr__(name: str) -> Any:
    homes = {target.partition(":")[2]: target.partition(":")[0] for target in REWEIGHTERS.values()}
    homes["Reweighter"] = "qkv.attention.reweighters.reweighter"
    if name not in homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(homes[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
