"""The mechanism: c = reweight(normalize(mask(score(q, k)) + bias)) v.

One folder a slot (scores, masks, biases, normalizers, reweighters), and one table of the
ways to compute it (kernels). Attention by feature maps has no energies: it is its own (linear).
Nothing is imported until it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qkv.attention import (
        biases,
        kernels,
        linear,
        local,
        masks,
        normalizers,
        reweighters,
        scores,
    )
    from qkv.attention.functional import attend, plan
    from qkv.attention.kernels.kernel import Plan
    from qkv.attention.linear import LinearAttention, LinearState, linear_attend
    from qkv.attention.masks.mask import Mask
    from qkv.attention.module import Attention
    from qkv.attention.prepared import Prepared
    from qkv.attention.result import Attended
    from qkv.attention.rotary import Rotary
    from qkv.attention.weights_of import WeightsOf

_FOLDERS = (
    "biases",
    "kernels",
    "linear",
    "local",
    "masks",
    "normalizers",
    "reweighters",
    "scores",
)
_EXPORTS = {
    "Attended": "result",
    "Attention": "module",
    "LinearAttention": "linear.module",
    "LinearState": "linear.state",
    "Mask": "masks.mask",
    "Plan": "kernels.kernel",
    "Prepared": "prepared",
    "Rotary": "rotary",
    "WeightsOf": "weights_of",
    "attend": "functional",
    "linear_attend": "linear.functional",
    "plan": "functional",
}

__all__ = [
    "Attended",
    "Attention",
    "LinearAttention",
    "LinearState",
    "Mask",
    "Plan",
    "Prepared",
    "Rotary",
    "WeightsOf",
    "attend",
    "biases",
    "kernels",
    "linear",
    "linear_attend",
    "local",
    "masks",
    "normalizers",
    "plan",
    "reweighters",
    "scores",
]


def __getattr__(name: str) -> Any:
    if name in _FOLDERS:
        return import_module(f"{__name__}.{name}")
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    globals()[name] = found  # the next time nobody asks here
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
