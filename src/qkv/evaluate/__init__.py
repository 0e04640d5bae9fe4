"""How good outputs are: one `evaluate` for training and afterwards, on detokenised text."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qkv.evaluate.alignment_error import AlignmentError, aer
    from qkv.evaluate.by_length import LengthTable, length_table
    from qkv.evaluate.error_rates import accuracy, edit_distances, per, wer
    from qkv.evaluate.evaluation import Evaluation, evaluate
    from qkv.evaluate.gold import Gold, pair_texts, read_gold
    from qkv.evaluate.metrics import bleu, chrf, ter
    from qkv.evaluate.registry import METRICS, Metric, Score

_EXPORTS = {
    "METRICS": "registry",
    "AlignmentError": "alignment_error",
    "Evaluation": "evaluation",
    "Gold": "gold",
    "LengthTable": "by_length",
    "Metric": "registry",
    "Score": "registry",
    "accuracy": "error_rates",
    "aer": "alignment_error",
    "bleu": "metrics",
    "chrf": "metrics",
    "edit_distances": "error_rates",
    "evaluate": "evaluation",
    "length_table": "by_length",
    "pair_texts": "gold",
    "per": "error_rates",
    "read_gold": "gold",
    "ter": "metrics",
    "wer": "error_rates",
}

__all__ = [
    "METRICS",
    "AlignmentError",
    "Evaluation",
    "Gold",
    "LengthTable",
    "Metric",
    "Score",
    "accuracy",
    "aer",
    "bleu",
    "chrf",
    "edit_distances",
    "evaluate",
    "length_table",
    "pair_texts",
    "per",
    "read_gold",
    "ter",
    "wer",
]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"qkv.evaluate.{_EXPORTS[name]}"), name)
