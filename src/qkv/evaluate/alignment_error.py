"""Alignment error rate: predicted word links against sure and possible gold links.

    recall = |A n S| / |S|        precision = |A n P| / |A|
    AER = 1 - (|A n S| + |A n P|) / (|A| + |S|)

with S inside P (Och and Ney 2003, A Systematic Comparison of Various Statistical Alignment Models;
Luong et al. 2015, table 6).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qkv.data.links import Links


@dataclass(frozen=True)
class AlignmentError:
    """The four counts of a corpus, and what follows from them.

    predicted: |A|. sure: |S|. in_sure: |A n S|. in_possible: |A n P|.
    """

    predicted: int
    sure: int
    in_sure: int
    in_possible: int

    @property
    def aer(self) -> float:
        """The alignment error rate, in 0..1; 0 where nothing was to be found and nothing was."""
        total = self.predicted + self.sure
        return 1 - (self.in_sure + self.in_possible) / total if total else 0.0

    @property
    def precision(self) -> float:
        """The share of the predicted links that are possible; 1 of none."""
        return self.in_possible / self.predicted if self.predicted else 1.0

    @property
    def recall(self) -> float:
        """The share of the sure links that were predicted; 1 of none."""
        return self.in_sure / self.sure if self.sure else 1.0

    def json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "aer": self.aer,
            "precision": self.precision,
            "recall": self.recall,
            "predicted": self.predicted,
            "sure": self.sure,
        }

    def __str__(self) -> str:
        return (
            f"AER = {100 * self.aer:.2f}, precision = {100 * self.precision:.2f}, "
            f"recall = {100 * self.recall:.2f} ({self.predicted} links, {self.sure} sure ones)"
        )


def aer(
    predicted: Sequence[Links], sure: Sequence[Links], possible: Sequence[Links]
) -> AlignmentError:
    """Hold the links of each sentence against its gold links; the counts are of the whole corpus.

    Args:
        predicted: A, a set of links a sentence.
        sure: S, links that must be there.
        possible: P, links that may be there; the sure ones count as possible in any case.

    Raises:
        ValueError: the lists differ in length.
    """
    if not len(predicted) == len(sure) == len(possible):
        raise ValueError(
            f"links of {len(predicted)} sentences, but sure links of {len(sure)} and possible "
            f"links of {len(possible)}; give one set of each for every sentence"
        )
    given = list(zip(predicted, sure, possible, strict=True))
    return AlignmentError(
        predicted=sum(len(a) for a, _, _ in given),
        sure=sum(len(s) for _, s, _ in given),
        in_sure=sum(len(a & s) for a, s, _ in given),
        in_possible=sum(len(a & (s | p)) for a, s, p in given),
    )
