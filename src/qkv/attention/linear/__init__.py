"""Linear attention: a sum over keys that all queries share, so cost and memory grow as T + S.

    c_i = phi(q_i) . sum_j phi(k_j) v_j^T / (phi(q_i) . sum_j phi(k_j))

One folder of feature maps phi (features), one function, its module, and its state for decoding.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qkv.attention.linear import features
    from qkv.attention.linear.features import FEATURES, Elu, FeatureMap, Mapped, PositiveRandom
    from qkv.attention.linear.functional import linear_attend
    from qkv.attention.linear.module import LinearAttention
    from qkv.attention.linear.prepared import PreparedLinear
    from qkv.attention.linear.state import LinearState

_EXPORTS = dict.fromkeys(("FEATURES", "Elu", "FeatureMap", "Mapped", "PositiveRandom"), "features")
_EXPORTS |= {
    "LinearAttention": "module",
    "LinearState": "state",
    "PreparedLinear": "prepared",
    "linear_attend": "functional",
}

__all__ = [
    "FEATURES",
    "Elu",
    "FeatureMap",
    "LinearAttention",
    "LinearState",
    "Mapped",
    "PositiveRandom",
    "PreparedLinear",
    "features",
    "linear_attend",
]


def __getattr__(name: str) -> Any:
    if name == "features":
        return import_module(f"{__name__}.features")
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
