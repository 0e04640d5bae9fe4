"""Biases: what is added to the energies for the positions alone. `BIASES` is the list of them.

attend(query, key, bias=qkv.biases.ALiBi(heads), mask=...)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from qkv.attention.registry import find

if TYPE_CHECKING:
    from qkv.attention.biases.alibi import ALiBi
    from qkv.attention.biases.position_bias import PositionBias
    from qkv.attention.biases.relative import Relative
    from qkv.attention.biases.relative_buckets import RelativeBuckets

BIASES = {
    "alibi": "qkv.attention.biases.alibi:ALiBi",
    "relative": "qkv.attention.biases.relative:Relative",
    "relative_buckets": "qkv.attention.biases.relative_buckets:RelativeBuckets",
}

__all__ = ["BIASES", "ALiBi", "PositionBias", "Relative", "RelativeBuckets", "build"]


def build(name: str, *, heads: int) -> PositionBias:
    """Build the bias called `name` for so many heads.

    Raises:
        ValueError: unknown name.
    """
    bias: PositionBias = find("bias", name, BIASES)(heads)
    return bias


def __getattr__(name: str) -> Any:
    homes = {target.partition(":")[2]: target.partition(":")[0] for target in BIASES.values()}
    homes["PositionBias"] = "qkv.attention.biases.position_bias"
    if name not in homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(homes[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
