"""What a run answered, as a heat map of its own: it knows its tokens."""

from __future__ import annotations

from typing import Any

from qkv.view.arrays import array_of
from qkv.view.figure import Figure

END = "</s>"


def is_answer(given: Any) -> bool:
    """Say whether this is what `Run.translate`, `classify` or `tag` gave, by its fields."""
    return all(hasattr(given, name) for name in ("source", "text", "attention"))


def figure_of_answer(answer: Any, title: str = "") -> Figure:
    """Return where a translation, a label or the labels of words looked.

    Raises:
        ValueError: the model has no attention.
    """
    if answer.attention is None:
        raise ValueError("the answer has no weights to show: its model has no attention")
    weights = array_of(answer.attention)
    weights = weights[None] if weights.ndim == 1 else weights  # of a label: one row
    columns = [token.text for token in answer.source.tokens]
    if hasattr(answer, "target"):
        rows = [token.text for token in answer.target.tokens]
    else:
        rows = [answer.label] if hasattr(answer, "label") else list(answer.tags)
    rows += [END] * (len(weights) - len(rows))  # a text that was cut off has no end
    columns += [END] * (weights.shape[1] - len(columns))
    return Figure(weights, rows, columns, title or f"{answer.source.text} → {answer.text}")
