"""Normalizers: alpha = normalize(e), soft or hard. `NORMALIZERS` is the one list of them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from qkv.attention.registry import find

if TYPE_CHECKING:
    from qkv.attention.normalizers.normalizer import Normalizer
    from qkv.attention.normalizers.softmax import Softmax

NORMALIZERS = {"softmax": "qkv.attention.normalizers.softmax:Softmax"}

__all__ = ["NORMALIZERS", "Normalizer", "Softmax", "build"]


def build(name: str) -> Normalizer:
    """Build the normaliser called `name`.

    Raises:
        ValueError: unknown name.
    """
    normalizer: Normalizer = find("normalizer", name, NORMALIZERS)()
    return normalizer


def __getattr__(name: str) -> Any:
    homes = {target.partition(":")[2]: target.partition(":")[0] for target in NORMALIZERS.values()}
    homes["Normalizer"] = "qkv.attention.normalizers.normalizer"
    if name not in homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(homes[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
