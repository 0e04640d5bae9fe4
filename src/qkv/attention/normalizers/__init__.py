"""Normalizers: alpha = normalize(e), soft or hard. `NORMALIZERS` is the one list of them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from qkv.attention.registry import find

if TYPE_CHECKING:
    from qkv.attention.normalizers.entmax import Entmax, LearnedEntmax
    from qkv.attention.normalizers.gumbel import Gumbel
    from qkv.attention.normalizers.hard import Hard
    from qkv.attention.normalizers.normalizer import Normalizer
    from qkv.attention.normalizers.sigmoid import Sigmoid
    from qkv.attention.normalizers.softmax import Softmax
    from qkv.attention.normalizers.sparsemax import Sparsemax

NORMALIZERS = {
    "softmax": "qkv.attention.normalizers.softmax:Softmax",
    "sparsemax": "qkv.attention.normalizers.sparsemax:Sparsemax",
    "entmax": "qkv.attention.normalizers.entmax:Entmax",
    "learned_entmax": "qkv.attention.normalizers.entmax:LearnedEntmax",
    "sigmoid": "qkv.attention.normalizers.sigmoid:Sigmoid",
    "hard": "qkv.attention.normalizers.hard:Hard",
    "gumbel": "qkv.attention.normalizers.gumbel:Gumbel",
}

__all__ = [
    "NORMALIZERS",
    "Entmax",
    "Gumbel",
    "Hard",
    "LearnedEntmax",
    "Normalizer",
    "Sigmoid",
    "Softmax",
    "Sparsemax",
    "build",
]


def build(
    name: str, *, heads: int = 1, alpha: float | None = None, temperature: float = 1.0
) -> Normalizer:
    """Build the normaliser called `name`.

    alpha is entmax's, temperature softmax's and gumbel's, heads learned_entmax's; the others do
    not look at them.

    Raises:
        ValueError: unknown name, or a number that the normaliser refuses.
    """
    found: type[Normalizer] = find("normalizer", name, NORMALIZERS)
    return found.sized(heads, alpha, temperature)


def __getattr__(name: str) -> Any:
    homes = {target.partition(":")[2]: target.partition(":")[0] for target in NORMALIZERS.values()}
    homes["Normalizer"] = "qkv.attention.normalizers.normalizer"
    if name not in homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(homes[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
