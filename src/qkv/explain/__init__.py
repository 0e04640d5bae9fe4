"""What a model looked at: alignments in words of the user's own text."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qkv.explain.aligner import align, joined, look
    from qkv.explain.alignment import Alignment, Link
    from qkv.explain.heads import every_head
    from qkv.explain.linkers import LINKERS
    from qkv.explain.ranking import Ranked, best_reading, dev_pairs, rank
    from qkv.explain.readings import Looked, Reading
    from qkv.explain.symmetrize import SYMMETRIZERS
    from qkv.explain.words import align_tokens, align_words

_EXPORTS = {
    "LINKERS": "linkers",
    "SYMMETRIZERS": "symmetrize",
    "Alignment": "alignment",
    "Link": "alignment",
    "Looked": "readings",
    "Ranked": "ranking",
    "Reading": "readings",
    "align": "aligner",
    "align_tokens": "words",
    "align_words": "words",
    "best_reading": "ranking",
    "dev_pairs": "ranking",
    "every_head": "heads",
    "joined": "aligner",
    "look": "aligner",
    "rank": "ranking",
}

__all__ = [
    "LINKERS",
    "SYMMETRIZERS",
    "Alignment",
    "Link",
    "Looked",
    "Ranked",
    "Reading",
    "align",
    "align_tokens",
    "align_words",
    "best_reading",
    "dev_pairs",
    "every_head",
    "joined",
    "look",
    "rank",
]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"qkv.explain.{_EXPORTS[name]}"), name)
