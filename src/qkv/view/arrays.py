"""What is given to be drawn, as arrays and labels that can be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

# Weights are sums of rounded numbers (heads averaged, subwords added up to words), so one may
# exceed 1 by the number of terms times eps: here 80 terms in float32.
_ROUNDING = 80 * float(np.finfo(np.float32).eps)


def array_of(weights: Any) -> np.ndarray:
    """Return float32 or float64, copied only if it is neither; a tensor is known by `detach`."""
    if hasattr(weights, "detach"):
        weights = weights.detach().cpu()
        if weights.element_size() < 4:  # numpy has no bfloat16
            weights = weights.float()
    array = np.asarray(weights)
    single = array.dtype.kind == "f" and array.dtype.itemsize <= 4
    array = array.astype(np.float32 if single else np.float64, copy=False).view()
    array.setflags(write=False)
    return array


def labels_of(axis: str, labels: Sequence[str]) -> tuple[str, ...]:
    """Return the labels of an axis.

    Raises:
        ValueError: one string, or anything but strings.
    """
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


def check_range(weights: np.ndarray, name: str = "weights") -> None:
    """Refuse what is not between 0 and 1.

    Raises:
        ValueError: a weight is outside, or NaN.
    """
    if not weights.size or (weights.min() >= 0 and weights.max() <= 1 + _ROUNDING):
        return  # NaN is carried by both and compares as False
    inside = (weights >= 0) & (weights <= 1 + _ROUNDING)
    place = tuple(int(index) for index in np.argwhere(~inside)[0])
    raise ValueError(
        f"{name}[{', '.join(map(str, place))}] is {weights[place]}, and a figure shows weights "
        "between 0 and 1; normalise scores first, or say what signed values they are: "
        "measure=qkv.view.VALUE"
    )


def check_finite(values: np.ndarray, name: str = "values") -> None:
    """Refuse NaN and infinities.

    Raises:
        ValueError: there is one.
    """
    if not np.isfinite(values).all():
        place = tuple(int(index) for index in np.argwhere(~np.isfinite(values))[0])
        raise ValueError(
            f"{name}[{', '.join(map(str, place))}] is {values[place]}, which has no colour; give "
            "finite values"
        )
