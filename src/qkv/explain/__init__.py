"""What a model looked at: alignments in words of the user's own text, and saliency."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qkv.explain.align import align_tokens, align_words
    from qkv.explain.alignment import Alignment, Link
    from qkv.explain.attribution import METHODS
    from qkv.explain.attribution.distance import gradient_by_distance
    from qkv.explain.attribution.flow import flow
    from qkv.explain.attribution.rollout import rollout
    from qkv.explain.heads import every_head
    from qkv.explain.linkers import LINKERS
    from qkv.explain.salient import Saliency, saliency

_EXPORTS = {
    "LINKERS": "linkers",
    "Alignment": "alignment",
    "Link": "alignment",
    "METHODS": "attribution",
    "Saliency": "salient",
    "align_tokens": "align",
    "align_words": "align",
    "every_head": "heads",
    "flow": "attribution.flow",
    "gradient_by_distance": "attribution.distance",
    "rollout": "attribution.rollout",
    "saliency": "salient",
}

__all__ = [
    "LINKERS",
    "METHODS",
    "Alignment",
    "Link",
    "Saliency",
    "align_tokens",
    "align_words",
    "every_head",
    "flow",
    "gradient_by_distance",
    "rollout",
    "saliency",
]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"qkv.explain.{_EXPORTS[name]}"), name)
