"""What a model looked at: alignments in words of the user's own text, and saliency."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qkv.explain.aligner import align, joined, look
    from qkv.explain.alignment import Alignment, Link
    from qkv.explain.attribution import METHODS
    from qkv.explain.attribution.distance import gradient_by_distance
    from qkv.explain.attribution.flow import flow
    from qkv.explain.attribution.rollout import rollout
    from qkv.explain.heads import every_head
    from qkv.explain.linkers import LINKERS
    from qkv.explain.ranking import Ranked, best_reading, dev_pairs, rank
    from qkv.explain.readings import Looked, Reading
    from qkv.explain.salient import Saliency, saliency
    from qkv.explain.symmetrize import SYMMETRIZERS
    from qkv.explain.words import align_tokens, align_words

_EXPORTS = {
    "Alignment": "alignment",
    "LINKERS": "linkers",
    "Link": "alignment",
    "Looked": "readings",
    "METHODS": "attribution",
    "Ranked": "ranking",
    "Reading": "readings",
    "SYMMETRIZERS": "symmetrize",
    "Saliency": "salient",
    "align": "aligner",
    "align_tokens": "words",
    "align_words": "words",
    "best_reading": "ranking",
    "dev_pairs": "ranking",
    "every_head": "heads",
    "flow": "attribution.flow",
    "gradient_by_distance": "attribution.distance",
    "joined": "aligner",
    "look": "aligner",
    "rank": "ranking",
    "rollout": "attribution.rollout",
    "saliency": "salient",
}

__all__ = [
    "LINKERS",
    "METHODS",
    "SYMMETRIZERS",
    "Alignment",
    "Link",
    "Looked",
    "Ranked",
    "Reading",
    "Saliency",
    "align",
    "align_tokens",
    "align_words",
    "best_reading",
    "dev_pairs",
    "every_head",
    "flow",
    "gradient_by_distance",
    "joined",
    "look",
    "rank",
    "rollout",
    "saliency",
]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"qkv.explain.{_EXPORTS[name]}"), name)
