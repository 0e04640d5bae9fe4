"""How good decisions are, example by example, and what one way loses against another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qkv.explain.faithfulness.finding import Estimate, Reading
from qkv.explain.faithfulness.subject import Floats

MARGIN = 0.02
"""A loss of accuracy below which two models count as equally good: the spread of seeds on SST."""


def correct(probabilities: Floats, labels: NDArray[np.int64]) -> Floats:
    """Return 1 for each example whose likeliest class is its label, else 0."""
    return (probabilities.argmax(1) == labels).astype(np.float64)


def f1(
    probabilities: Floats, labels: NDArray[np.int64], classes: Sequence[str]
) -> dict[str, float]:
    """Return the F1 of each class by its name, and their mean as `macro`."""
    predicted = probabilities.argmax(1)
    found = {}
    for number, name in enumerate(classes):
        hits = ((predicted == number) & (labels == number)).sum()
        named = (predicted == number).sum() + (labels == number).sum()
        found[name] = float(2 * hits / named) if named else 0.0
    return found | {"macro": float(np.mean(list(found.values())))}


def read_loss(loss: Estimate, without: str) -> tuple[Reading, str]:
    """Say what a loss of accuracy means: it is paired, example by example."""
    seen = f"({loss.mean:+.3f} lost, 95 % [{loss.low:+.3f}, {loss.high:+.3f}])"
    if loss.high < MARGIN:
        return "against", f"{without} costs less than {MARGIN:g} of accuracy {seen}."
    if loss.low > MARGIN:
        return "for", f"{without} costs accuracy {seen}: the weights carry what the task needs."
    return "open", f"Whether {without[0].lower()}{without[1:]} costs accuracy stays open {seen}."
