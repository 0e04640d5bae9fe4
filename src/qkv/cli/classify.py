"""`qkv classify RUN`: a label for each line of text."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qkv.cli.labelled import Verb, tokens_of

if TYPE_CHECKING:
    from qkv.labelling import Classification
    from qkv.run import Run
    from qkv.view import Figure

DESCRIPTION = """Give each line of the input its label and how probable it is, with a tab between.

An empty line stays empty. With --json, each line gives one JSON object with the probabilities of
all labels, the tokens, and the weight that attention gave each.
"""


def run(words: list[str]) -> int:
    """Classify."""
    return Verb("classify", ask, line, record, figure).run(DESCRIPTION, words)


def ask(run: Run, texts: list[str], progress: Callable[[int], None]) -> list[Classification]:
    """Return the labels of some texts."""
    return run.classify(texts, progress=progress)


def line(found: Classification) -> str:
    """Return what is printed of a text."""
    return f"{found.label}\t{found.probability:.4f}"


def record(found: Classification) -> dict[str, Any]:
    """Return all of it as plain values."""
    return {
        "text": found.source.text,
        "label": found.label,
        "probabilities": found.probabilities,
        "tokens": tokens_of(found.source),
        "attention": found.attention.tolist(),
    }


def figure(run: Run, found: Classification) -> Figure:
    """Draw the text with its weights."""
    from qkv.figures import label_figure

    return label_figure(run, found)
