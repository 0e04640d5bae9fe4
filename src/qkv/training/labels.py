"""Pairs whose target is a label, or labels: what must hold of them before anything is learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from qkv.config import Config
from qkv.data import Examples
from qkv.data.pairs import Pair
from qkv.text import SPECIALS, UNK, Side


class Labelled(Protocol):
    """The parts of a task that hold labels."""

    @property
    def target(self) -> Side:
        """The labels."""

    @property
    def train(self) -> Examples:
        """What is learned from."""

    @property
    def dev(self) -> Examples:
        """What it is measured on."""

    @property
    def dev_pairs(self) -> Sequence[Pair]:
        """Its texts."""


def check_config(config: Config, predicts: str) -> None:
    """Refuse tokenisers that would cut labels.

    Raises:
        ValueError: naming the key.
    """
    kind, text = config.model.kind, config.text
    if text.target.kind != "words" or text.shared:
        raise ValueError(
            f'model.kind = "{kind}" gives labels, and each is a word: set text.target = '
            '{ kind = "words" } and text.shared = false'
        )
    if predicts == "tags" and text.source.kind != "words":
        raise ValueError(
            f'model.kind = "{kind}" gives a label to each word, but text.source.kind = '
            f'"{text.source.kind}"; set text.source = {{ kind = "words" }}'
        )


def check_labels(task: Labelled, predicts: str) -> None:
    """Refuse labels that cannot be learned, or not be measured.

    Raises:
        ValueError: fewer than two labels; not one a text, or one a word; a dev label that the
            training data does not have.
    """
    known = task.target.vocabulary.symbols[len(SPECIALS) :]
    if (task.train.target.flat == UNK).any():
        raise ValueError(
            "text.target.min_count and text.target.size leave out some of the training labels; "
            "set min_count = 1 and a size above the number of labels"
        )
    if len(known) < 2:
        raise ValueError(
            f"every training label is {known[0]!r}: there is nothing to tell apart; give data "
            "with two labels or more"
        )
    for name, examples in (("training", task.train), ("dev", task.dev)):
        _check_numbers(name, examples, predicts)
    refuse_unknown(task.target, task.dev_pairs)


def refuse_unknown(target: Side, pairs: Sequence[Pair]) -> None:
    """Refuse labels that the training data did not have: no model of it can give them.

    Raises:
        ValueError: there are some; the first one is named.
    """
    known = target.vocabulary.symbols[len(SPECIALS) :]
    unknown = [
        (label, pair.line)
        for pair in pairs
        for label in pair.target.split()
        if label not in target.vocabulary
    ]
    if unknown:
        label, line = unknown[0]
        raise ValueError(
            f"the label {label!r} (line {line}) is none of the {len(known)} of the training data "
            f"({shown(known)}), so it can never be right ({len(unknown)} labels are like this); "
            "train on texts with it, or leave its lines out"
        )


def _check_numbers(name: str, examples: Examples, predicts: str) -> None:
    wanted = examples.source.lengths if predicts == "tags" else np.ones(len(examples), np.int64)
    wrong = np.flatnonzero(examples.target.lengths != wanted)
    if len(wrong):
        first = int(wrong[0])
        rule = "one a word" if predicts == "tags" else "one word a text"
        raise ValueError(
            f"{name} pair {int(examples.kept[first]) + 1} has {examples.target.lengths[first]} "
            f"labels for {examples.source.lengths[first]} words; there must be {rule} "
            f"({len(wrong)} pairs are wrong)"
        )


def describe_labels(task: Labelled) -> str:
    """Say which labels there are, and how many of each: the most frequent first."""
    labels = task.target.vocabulary.symbols[len(SPECIALS) :]
    counts = np.bincount(task.train.target.flat, minlength=len(SPECIALS) + len(labels))
    counts = counts[len(SPECIALS) :]
    parts = [
        f"{label} {100 * count / counts.sum():.1f} %"
        for label, count in sorted(zip(labels, counts.tolist(), strict=True), key=_rarest_last)
    ]
    return f"{len(labels)} labels: {shown(parts)}"


def _rarest_last(counted: tuple[str, int]) -> int:
    return -counted[1]


def shown(names: Sequence[str], most: int = 10) -> str:
    """Return some names in a line."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
