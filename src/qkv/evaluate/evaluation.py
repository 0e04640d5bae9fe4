"""The one scorer: training's dev metric and `qkv evaluate` are this function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qkv.evaluate.by_length import BOUNDARIES, LengthTable, aligned, length_table
from qkv.evaluate.labels import LabelTable, label_table
from qkv.evaluate.registry import References, Score, find, listed


@dataclass(frozen=True)
class Evaluation:
    """The scores of a corpus of outputs; `evaluation["bleu"].value` is one of them.

    by_length: the same metrics by source length; None if no sources were given.
    by_label: precision, recall and F1 of each label; None if not asked for.
    """

    sentences: int
    scores: tuple[Score, ...]
    by_length: LengthTable | None = None
    by_label: LabelTable | None = None

    def __getitem__(self, metric: str) -> Score:
        for score in self.scores:
            if score.name == metric:
                return score
        names = ", ".join(score.name for score in self.scores)
        raise ValueError(f"{metric!r} was not computed; there are: {names}")

    def json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "sentences": self.sentences,
            "scores": {score.name: score.json() for score in self.scores},
            "by_length": None if self.by_length is None else self.by_length.json(),
            "by_label": None if self.by_label is None else self.by_label.json(),
        }

    def __str__(self) -> str:
        rows = [[score.name, f"{score.value:.2f}"] for score in self.scores]
        table = aligned([["metric", "value"], *rows]).splitlines()
        signatures = ["signature", *(score.signature for score in self.scores)]
        lines = [f"{row}  {signature}" for row, signature in zip(table, signatures, strict=True)]
        for more in (self.by_length, self.by_label):
            lines += [] if more is None else ["", str(more)]
        return "\n".join(lines)


def evaluate(
    hypotheses: Sequence[str],
    references: References,
    metrics: Sequence[str] = ("bleu", "chrf"),
    sources: Sequence[str] | None = None,
    *,
    boundaries: Sequence[int] = BOUNDARIES,
    by_label: bool = False,
) -> Evaluation:
    """Score outputs against references.

    Args:
        hypotheses: detokenised outputs.
        references: references[i] is the text, or the texts, that hypotheses[i] should equal.
        metrics: names from `METRICS`.
        sources: the source texts; with them a table by their length in words is made.
        boundaries: of the table's ranges.
        by_label: the outputs are labels; add a table of them.

    Raises:
        ValueError: an unknown metric, or one whose package is missing; numbers that do not match.
    """
    lists = listed(hypotheses, references)
    functions = [find(name).load() for name in dict.fromkeys(metrics)]
    scores = tuple(function(hypotheses, lists) for function in functions)
    table = None
    if sources is not None:
        lengths = [len(source.split()) for source in sources]
        names = [score.name for score in scores]
        table = length_table(hypotheses, lists, lengths, names, boundaries)
    labels = label_table(hypotheses, lists) if by_label else None
    return Evaluation(len(lists), scores, table, labels)
