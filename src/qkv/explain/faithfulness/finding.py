"""What a test found: a mean with its interval, a baseline, and what it says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from qkv.data.randomness import generator
from qkv.explain.faithfulness.subject import Floats

Reading = Literal["for", "against", "open"]
LEVEL = 0.95
RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A mean over n examples, their standard deviation, and a bootstrap interval of the mean."""

    mean: float
    deviation: float
    n: int
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def json(self) -> dict[str, float]:
        """Return plain values."""
        return {
            "mean": self.mean,
            "sd": self.deviation,
            "n": self.n,
            "low": self.low,
            "high": self.high,
        }


@dataclass(frozen=True)
class Finding:
    """A test's result.

    measure: what was measured on each example. chance: what the baseline is. reading: what it says
    of the weights as an explanation; `open` where the data do not decide. says: the same in words.
    facts: further numbers, for JSON. values, random: of each example, for the figure, which spans
    `span`.
    """

    test: str
    measure: str
    value: Estimate
    baseline: Estimate
    chance: str
    reading: Reading
    says: str
    values: Floats
    random: Floats
    span: tuple[float, float]
    facts: dict[str, Any] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "test": self.test,
            "measure": self.measure,
            "value": self.value.json(),
            "baseline": self.baseline.json() | {"of": self.chance},
            "reading": self.reading,
            "says": self.says,
            **self.facts,
        }


def estimate(values: Floats, seed: int = 1) -> Estimate:
    """Return the mean of values, one an example, with a 95 % percentile bootstrap interval.

    Differs from a t interval: it needs no normal values, and stays within their range.

    Raises:
        ValueError: there are fewer than 2 values.
    """
    values = np.asarray(values, np.float64)
    if len(values) < 2:
        raise ValueError(
            f"{len(values)} examples could be measured: an interval needs 2 or more; give more "
            "examples, or longer ones (raise --limit)"
        )
    random = generator(seed, "bootstrap")
    spread = scipy_stats().bootstrap(
        (values,),
        np.mean,
        confidence_level=LEVEL,
        n_resamples=RESAMPLES,
        batch=max(1, 10**6 // len(values)),
        method="percentile",
        rng=random,
    )
    low, high = map(float, spread.confidence_interval)
    return Estimate(float(values.mean()), float(values.std()), len(values), low, high)


def scipy_stats() -> Any:
    """Return scipy.stats.

    Raises:
        ValueError: scipy is not installed.
    """
    try:
        from scipy import stats
    except ImportError as error:
        raise ValueError(
            "the tests of explanation need scipy: pip install 'qkv[explain]'"
        ) from error
    return stats


def by_sharpness(sharpest: Floats, values: Floats, bins: int = 4) -> list[dict[str, float]]:
    """Return quartiles of values in bins of the examples' largest weight (their figure 7)."""
    table = []
    place = np.minimum((sharpest * bins).astype(int), bins - 1)
    for number in range(bins):
        inside = values[place == number]
        row = {"from": number / bins, "to": (number + 1) / bins, "n": float(len(inside))}
        if len(inside):
            low, middle, high = np.percentile(inside, (25, 50, 75))
            row |= {"q1": float(low), "median": float(middle), "q3": float(high)}
        table.append(row)
    return table
