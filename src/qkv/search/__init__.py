"""Greedy search, beam search and sampling: one routine over a model's `start` and `step`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qkv.search.batches import search_all
    from qkv.search.hypothesis import Hypothesis
    from qkv.search.routine import search
    from qkv.search.scoring import Scoring
    from qkv.search.strategies import STRATEGIES
    from qkv.search.unknown import replace_unknown

_EXPORTS = {
    "STRATEGIES": "qkv.search.strategies",
    "Hypothesis": "qkv.search.hypothesis",
    "Scoring": "qkv.search.scoring",
    "replace_unknown": "qkv.search.unknown",
    "search": "qkv.search.routine",
    "search_all": "qkv.search.batches",
}

__all__ = [
    "STRATEGIES",
    "Hypothesis",
    "Scoring",
    "replace_unknown",
    "search",
    "search_all",
]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)
