"""Sentence pairs from corpora and files, as ids, in batches of like lengths."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qkv.data.batches import Batch, collate
    from qkv.data.corpora import CORPORA, Corpus, load_corpus, load_pairs
    from qkv.data.examples import Examples, encode_pairs
    from qkv.data.pairs import Pair, Pairs, Report
    from qkv.data.plan import BatchPlan, sorted_batches
    from qkv.data.readers import read_pairs

__all__ = [
    "CORPORA",
    "Batch",
    "BatchPlan",
    "Corpus",
    "Examples",
    "Pair",
    "Pairs",
    "Report",
    "collate",
    "encode_pairs",
    "load_corpus",
    "load_pairs",
    "read_pairs",
    "sorted_batches",
]

_HOME = {
    "Batch": "batches",
    "collate": "batches",
    "CORPORA": "corpora",
    "Corpus": "corpora",
    "load_corpus": "corpora",
    "load_pairs": "corpora",
    "Examples": "examples",
    "encode_pairs": "examples",
    "Pair": "pairs",
    "Pairs": "pairs",
    "Report": "pairs",
    "BatchPlan": "plan",
    "sorted_batches": "plan",
    "read_pairs": "readers",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'qkv.data' has no attribute {name!r}")
    return getattr(import_module(f"qkv.data.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
