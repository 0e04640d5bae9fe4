"""What a model looked at: alignments in words of the user's own text."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qkv.explain.align import align_tokens, align_words
    from qkv.explain.alignment import Alignment, Link
    from qkv.explain.heads import every_head
    from qkv.explain.linkers import LINKERS

_EXPORTS = {
    "LINKERS": "linkers",
    "Alignment": "alignment",
    "Link": "alignment",
    "align_tokens": "align",
    "align_words": "align",
    "every_head": "heads",
}

__all__ = ["LINKERS", "Alignment", "Link", "align_tokens", "align_words", "every_head"]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"qkv.explain.{_EXPORTS[name]}"), name)
