"""A figure: weights with a label for every row and column, bound to each other for good."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float

# Weights are sums of rounded numbers (heads averaged, subwords added up to words), so one may
# exceed 1 by the number of terms times eps: here 80 terms in float32.
_ROUNDING = 80 * float(np.finfo(np.float32).eps)


@dataclass(frozen=True, eq=False, repr=False)
class Figure:
    """A heat map to be drawn: weights[i, j] is how much target i attends to source j.

    `print(figure)` draws it in the terminal, a notebook shows it as a page.

    Args:
        weights: [targets, sources] between 0 and 1; any array, nested list or tensor.
        target: one label a row.
        source: one label a column.
        title: what is shown: model, layer, head.
        note: how it was computed: method, aggregation, scale.

    Raises:
        ValueError: labels and axes differ in number, or a weight is not in [0, 1].
    """

    weights: Float[np.ndarray, "targets sources"]
    target: Sequence[str]
    source: Sequence[str]
    title: str
    note: str = ""

    def __post_init__(self) -> None:
        weights = _array(self.weights)
        target, source = _labels("target", self.target), _labels("source", self.source)
        _check(weights, target, source)
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "target", target)
        object.__setattr__(self, "source", source)

    def number(self, row: int, column: int) -> str:
        """Return one weight as the shortest decimal that reads back as exactly that weight."""
        return str(self.weights[row, column])

    def __repr__(self) -> str:
        return f"Figure({self.title!r}, {len(self.target)} targets x {len(self.source)} sources)"

    def __str__(self) -> str:
        from qkv.view.terminal import terminal  # it draws figures, so it imports this module

        return terminal(self)

    def _repr_html_(self) -> str:
        from qkv.view.html import frame

        return frame(self)


def show(weights: Any, source: Sequence[str], target: Sequence[str], title: str = "") -> Figure:
    """Return a figure that draws itself: in a notebook as a page, printed as text.

    Args:
        weights: [targets, sources], an array or a tensor, on any device, with or without gradient.
        source: one label a column.
        target: one label a row.
        title: what is shown: model, layer, head.
    """
    return Figure(weights, target, source, title)


def _array(weights: Any) -> np.ndarray:
    """Return a read-only copy as float32 or float64; a tensor is recognised by its `detach`."""
    if hasattr(weights, "detach"):
        weights = weights.detach().cpu()
        if weights.element_size() < 4:  # numpy has no bfloat16
            weights = weights.float()
    array = np.asarray(weights)
    single = array.dtype.kind == "f" and array.dtype.itemsize <= 4
    array = array.astype(np.float32 if single else np.float64)
    array.setflags(write=False)
    return array


def _labels(axis: str, labels: Sequence[str]) -> tuple[str, ...]:
    if isinstance(labels, str):
        raise ValueError(
            f"{axis} is one string, {labels!r}; give a list with one label each, "
            f"such as list({labels[:20]!r}) for characters"
        )
    wrong = next((label for label in labels if not isinstance(label, str)), None)
    if wrong is not None:
        raise ValueError(
            f"{axis} labels must be strings, got {wrong!r}; turn ids into tokens first"
        )
    return tuple(labels)


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
    inside = (weights >= 0) & (weights <= 1 + _ROUNDING)  # NaN is not inside either
    if not inside.all():
        row, column = (int(index) for index in np.argwhere(~inside)[0])
        raise ValueError(
            f"weights[{row}, {column}] is {weights[row, column]}, and a figure shows weights "
            "between 0 and 1; normalise scores first"
        )
