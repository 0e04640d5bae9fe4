"""Variants of one recipe: train each in its own process, and lay the results side by side.

from qkv.compare import compare
found = compare(config, {"attention.score": ["additive", "dot"]}, Path("runs/scores"))
print(found.markdown())
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qkv.compare.axes import Axis, axes_of, parse_axes
    from qkv.compare.comparison import Comparison, compare
    from qkv.compare.variants import Variant, variants_of

_EXPORTS = {
    "Axis": "axes",
    "Comparison": "comparison",
    "Variant": "variants",
    "axes_of": "axes",
    "compare": "comparison",
    "parse_axes": "axes",
    "variants_of": "variants",
}

__all__ = ["Axis", "Comparison", "Variant", "axes_of", "compare", "parse_axes", "variants_of"]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"qkv.compare.{_EXPORTS[name]}"), name)
