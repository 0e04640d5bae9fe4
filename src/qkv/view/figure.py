"""A figure: weights with a label for every row and column, bound to each other for good."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qkv.view.arrays import array_of, labels_of
from qkv.view.measure import WEIGHT, Measure

if TYPE_CHECKING:
    from jaxtyping import Float

    from qkv.view.maps import AttentionMaps


@dataclass(frozen=True, eq=False, repr=False)
class Figure:
    """A heat map to be drawn: weights[i, j] is how much target i attends to source j.

    `print(figure)` draws it in the terminal, a notebook shows it as a page.

    Args:
        weights: [targets, sources]; any array, nested list or tensor.
        target: one label a row.
        source: one label a column.
        title: what is shown: model, layer, head.
        note: how it was computed: method, aggregation, scale.
        measure: what the numbers are; weights between 0 and 1, or signed values (VALUE).

    Raises:
        ValueError: labels and axes differ in number, or a weight is not in [0, 1].
    """

    weights: Float[np.ndarray, "targets sources"]
    target: Sequence[str]
    source: Sequence[str]
    title: str
    note: str = ""
    measure: Measure = WEIGHT

    def __post_init__(self) -> None:
        weights = array_of(self.weights).copy()  # a change of the caller's changes no figure
        weights.setflags(write=False)
        target, source = labels_of("target", self.target), labels_of("source", self.source)
        _check(weights, target, source)
        self.measure.check(weights)
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "target", target)
        object.__setattr__(self, "source", source)

    def number(self, row: int, column: int) -> str:
        """Return one weight as the shortest decimal that reads back as exactly that weight."""
        return str(self.weights[row, column])

    def figures(self) -> list[Figure]:
        """Return itself: figures and attention maps are saved by the same function."""
        return [self]

    def maps(self) -> AttentionMaps:
        """Return itself as maps of one layer and one head: what the viewer shows."""
        from qkv.view.maps import AttentionMaps  # it makes figures, so it imports this module

        weights = [self.weights[None]]
        return AttentionMaps(
            weights,
            self.target,
            self.source,
            self.title,
            note=self.note,
            measure=self.measure,
        )

    def __repr__(self) -> str:
        return f"Figure({self.title!r}, {len(self.target)} targets x {len(self.source)} sources)"

    def __str__(self) -> str:
        from qkv.view.terminal import terminal  # it draws figures, so it imports this module

        return terminal(self)

    def _repr_html_(self) -> str:
        from qkv.view.html import frame

        return frame([self], self.title)


def _check(weights: np.ndarray, target: Sequence[str], source: Sequence[str]) -> None:
    if weights.ndim != 2:
        raise ValueError(
            f"weights must be [targets, sources], got shape {weights.shape}; "
            "choose one sentence, layer and head, or average over them first"
        )
    if weights.shape != (len(target), len(source)):
        raise ValueError(
            f"weights have {weights.shape[0]} rows and {weights.shape[1]} columns, but there are "
            f"{len(target)} target labels and {len(source)} source labels; every row needs a "
            "target token, every column a source token (the end of sentence too, if weighted)"
        )
