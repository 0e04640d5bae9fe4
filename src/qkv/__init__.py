"""Every attention mechanism as one equation, and a sequence-to-sequence system built on it.

    import qkv
    out = qkv.attend(query, key, value, score="scaled_dot", mask=qkv.Mask.causal())

Names are found on first use, so that `import qkv` imports no tensor library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qkv import explain, hf, view
    from qkv.attention import (
        Attended,
        Attention,
        LinearAttention,
        LinearState,
        Mask,
        Rotary,
        attend,
        biases,
        linear,
        linear_attend,
        local,
        masks,
        normalizers,
        plan,
        reweighters,
        scores,
    )
    from qkv.exports import export
    from qkv.nn import MultiHeadAttention
    from qkv.run import Run, load

__version__ = "0.1.0"

_EXPORTS = {
    "Attended": "qkv.attention",
    "Attention": "qkv.attention",
    "LinearAttention": "qkv.attention",
    "LinearState": "qkv.attention",
    "Mask": "qkv.attention",
    "MultiHeadAttention": "qkv.nn",
    "Rotary": "qkv.attention",
    "Run": "qkv.run",
    "WeightsOf": "qkv.attention",
    "attend": "qkv.attention",
    "biases": "qkv.attention",
    "export": "qkv.exports",
    "linear": "qkv.attention",
    "linear_attend": "qkv.attention",
    "load": "qkv.run",
    "local": "qkv.attention",
    "masks": "qkv.attention",
    "normalizers": "qkv.attention",
    "plan": "qkv.attention",
    "reweighters": "qkv.attention",
    "scores": "qkv.attention",
}

__all__ = [
    "Attended",
    "Attention",
    "LinearAttention",
    "LinearState",
    "Mask",
    "MultiHeadAttention",
    "Rotary",
    "Run",
    "WeightsOf",
    "__version__",
    "attend",
    "biases",
    "explain",
    "export",
    "hf",
    "linear",
    "linear_attend",
    "load",
    "local",
    "masks",
    "normalizers",
    "plan",
    "reweighters",
    "scores",
    "view",
]


def __getattr__(name: str) -> Any:
    if name in ("explain", "hf", "view"):
        return import_module(f"qkv.{name}")
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(_EXPORTS[name]), name)
    globals()[name] = found  # the next time nobody asks here
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
