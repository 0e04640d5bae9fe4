"""`qkv tag RUN`: a label for each word of each line."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qkv.cli.labelled import Verb, tokens_of

if TYPE_CHECKING:
    from qkv.labelling import Tagged
    from qkv.run import Run
    from qkv.view import Figure

DESCRIPTION = """Give each word of each line a label: a line of labels for a line of words.

An empty line stays empty. With --json, each line gives one JSON object with the words, their
labels, how probable each is, and what each word read of the others.
"""


def run(words: list[str]) -> int:
    """Tag."""
    return Verb("tag", ask, line, record, figure).run(DESCRIPTION, words)


def ask(run: Run, texts: list[str], progress: Callable[[int], None]) -> list[Tagged]:
    """Return the labels of some sentences."""
    return run.tag(texts, progress=progress)


def line(found: Tagged) -> str:
    """Return what is printed of a sentence."""
    return found.text


def record(found: Tagged) -> dict[str, Any]:
    """Return all of it as plain values."""
    return {
        "text": found.source.text,
        "tags": list(found.tags),
        "probabilities": list(found.probabilities),
        "tokens": tokens_of(found.source),
        "attention": found.attention.tolist(),
    }


def figure(run: Run, found: Tagged) -> Figure:
    """Draw what each word read."""
    from qkv.figures import tag_figure

    return tag_figure(run, found)
