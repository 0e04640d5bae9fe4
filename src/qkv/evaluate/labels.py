"""Labels against labels: precision, recall and F1 of each, and their means.

    precision = right / given,   recall = right / there,   F1 = 2 right / (given + there)
    macro: the mean of F1 over the labels of the references
    micro: F1 of all labels together, which, one label to a place, is the share that is right
    binary: F1 of the positive one of two labels

A text has as many labels as its reference: one, or one a word. A label that is never given and
never there has no F1; one that is given, but never there, counts for the labels it was given for,
and has no part in the macro mean (as in Jain and Wallace 2019 all labels are there, it is theirs).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from qkv.evaluate.by_length import aligned
from qkv.evaluate.registry import References, Score, listed


@dataclass(frozen=True)
class LabelScore:
    """One label: how often it was there and given, and precision, recall and F1 in percent."""

    label: str
    there: int
    given: int
    right: int

    @property
    def precision(self) -> float:
        """Of those given, the share that is right; 0 if none was given."""
        return 100 * self.right / self.given if self.given else 0.0

    @property
    def recall(self) -> float:
        """Of those there, the share that was given; 0 if none is there."""
        return 100 * self.right / self.there if self.there else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of the two."""
        both = self.given + self.there
        return 200 * self.right / both if both else 0.0


@dataclass(frozen=True)
class LabelTable:
    """Each label's scores, the most frequent first, and which was taken for which.

    confusion[i][j]: how often label i was there and label j given. Prints as two tables.
    """

    scores: tuple[LabelScore, ...]
    confusion: tuple[tuple[int, ...], ...]

    @property
    def majority(self) -> float:
        """What the most frequent label, always given, would be right in, in percent."""
        there = [score.there for score in self.scores]
        return 100 * max(there) / sum(there)

    def json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        means = ("precision", "recall", "f1")
        return {
            "labels": [
                asdict(score) | {name: getattr(score, name) for name in means}
                for score in self.scores
            ],
            "confusion": [list(row) for row in self.confusion],
            "majority": self.majority,
        }

    def __str__(self) -> str:
        head = ["label", "there", "given", "precision", "recall", "F1"]
        rows = [
            [
                score.label,
                str(score.there),
                str(score.given),
                *(f"{value:.2f}" for value in (score.precision, score.recall, score.f1)),
            ]
            for score in self.scores
        ]
        labels = [score.label for score in self.scores]
        crossed = [
            [label, *map(str, row)] for label, row in zip(labels, self.confusion, strict=True)
        ]
        always = f"always {labels[0]}: {self.majority:.2f} % right"
        return "\n".join(
            [aligned([head, *rows]), always, "", aligned([["there, given:", *labels], *crossed])]
        )


def label_table(hypotheses: Sequence[str], references: References) -> LabelTable:
    """Return precision, recall and F1 of each label, and the confusion of each two.

    Raises:
        ValueError: a text has not as many labels as its reference, or several references.
    """
    pairs = Counter(_label_pairs(hypotheses, references))
    there: Counter[str] = Counter()
    given: Counter[str] = Counter()
    for (reference, hypothesis), count in pairs.items():
        there[reference] += count
        given[hypothesis] += count
    labels = sorted(there | given, key=lambda label: (-there[label], label))
    return LabelTable(
        tuple(
            LabelScore(label, there[label], given[label], pairs[label, label]) for label in labels
        ),
        tuple(tuple(pairs[row, column] for column in labels) for row in labels),
    )


def f1_macro(hypotheses: Sequence[str], references: References) -> Score:
    """Return the mean F1 of the labels that are in the references."""
    scores = [one for one in label_table(hypotheses, references).scores if one.there]
    value = sum(score.f1 for score in scores) / len(scores)
    return Score("f1-macro", value, _signature(scores))


def f1_micro(hypotheses: Sequence[str], references: References) -> Score:
    """Return the F1 of all labels together."""
    scores = label_table(hypotheses, references).scores
    value = 200 * sum(s.right for s in scores) / sum(s.given + s.there for s in scores)
    return Score("f1-micro", value, _signature(scores))


def f1_binary(hypotheses: Sequence[str], references: References) -> Score:
    """Return the F1 of the positive one of two labels: the last in order, such as 1, pos, yes.

    Raises:
        ValueError: there are not two labels.
    """
    scores = label_table(hypotheses, references).scores
    if len(scores) != 2:
        names = ", ".join(sorted(score.label for score in scores)[:10])
        raise ValueError(
            f"f1-binary is for two labels, and here are {len(scores)} ({names}); take f1-macro or "
            "f1-micro"
        )
    positive = max(scores, key=lambda score: score.label)
    return Score("f1-binary", positive.f1, f"positive:{positive.label}|{_signature(scores)}")


def token_accuracy(hypotheses: Sequence[str], references: References) -> Score:
    """Return the share of labels that are right, in percent: of tags, one a word."""
    pairs = list(_label_pairs(hypotheses, references))
    value = 100 * sum(reference == hypothesis for reference, hypothesis in pairs) / len(pairs)
    return Score("token-accuracy", value, f"tokens:whitespace|n:{len(pairs)}")


def _signature(scores: Sequence[LabelScore]) -> str:
    return f"labels:{len(scores)}|n:{sum(score.there for score in scores)}"


def _label_pairs(hypotheses: Sequence[str], references: References) -> Iterator[tuple[str, str]]:
    """Give each label of the references beside what was given for it."""
    for number, (hypothesis, texts) in enumerate(
        zip(hypotheses, listed(hypotheses, references), strict=True)
    ):
        if len(texts) != 1:
            raise ValueError(
                f"text {number} has {len(texts)} references; labels are compared with one"
            )
        given, there = hypothesis.split(), texts[0].split()
        if len(given) != len(there) or not there:
            raise ValueError(
                f"text {number} was given {len(given)} labels, and its reference has "
                f"{len(there)}; F1 and token accuracy compare label for label"
            )
        yield from zip(there, given, strict=True)
