"""Do the weights rank words as another measure of importance does? Kendall's tau."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qkv.data.randomness import generator
from qkv.explain.faithfulness.finding import Estimate, Finding, Reading, estimate, scipy_stats
from qkv.explain.faithfulness.subject import Floats, Subject

STRONG = 0.5
"""A mean tau from which the agreement is called strong: three pairs of four in the same order."""
SIGNIFICANT = 0.05


def kendall(first: Sequence[Floats], second: Sequence[Floats]) -> tuple[Floats, Floats]:
    """Return tau-b and its p-value for each example; NaN where there is no order to compare."""
    stats = scipy_stats()
    taus, values = np.full(len(first), np.nan), np.full(len(first), np.nan)
    for place, (one, other) in enumerate(zip(first, second, strict=True)):
        if len(one) > 1 and np.ptp(one) > 0 and np.ptp(other) > 0:
            taus[place], values[place] = stats.kendalltau(one, other)
    return taus, values


def agreement(
    subject: Subject, test: str, importance: Sequence[Floats], measure: str, other: str
) -> Finding:
    """Hold the weights of each example's words against another measure of their importance.

    The baseline is the same weights, shuffled over the words. Examples with fewer than two words,
    or where one of the two measures gives all words the same, have no tau: they are counted.
    """
    words = [subject.words(example) for example in range(len(subject))]
    weights = [row[keep] for row, keep in zip(subject.seen.attention, words, strict=True)]
    given = [row[keep] for row, keep in zip(importance, words, strict=True)]
    random = generator(subject.seed, test, "shuffle")
    shuffled = [random.permutation(row) for row in weights]
    taus, p = kendall(weights, given)
    kept = ~np.isnan(taus)
    chance = kendall(shuffled, given)[0]
    chance = chance[~np.isnan(chance)]
    if kept.sum() < 2:
        return _nothing(subject, test, measure)
    value, baseline = estimate(taus[kept], subject.seed), estimate(chance, subject.seed)
    reading, says = read(value, baseline, other)
    facts = {
        "share_significant": float((p[kept] <= SIGNIFICANT).mean()),
        "by_predicted_class": _by_class(subject, taus, p, kept),
        "without_tau": int((~kept).sum()),
    }
    return Finding(
        test, measure, value, baseline, "shuffled weights", reading, says, taus[kept], chance,
        (-1.0, 1.0), facts,
    )  # fmt: skip


def read(value: Estimate, baseline: Estimate, other: str) -> tuple[Reading, str]:
    """Say what a mean tau means."""
    if value.low >= STRONG:
        return "for", f"The weights rank words much as {other} does."
    if value.low <= baseline.high and value.high >= STRONG:
        return "open", f"Whether the weights agree with {other}, these examples leave open."
    if value.low <= baseline.high:
        return "against", f"The weights rank words no more like {other} than shuffled weights do."
    if value.high < STRONG:
        return "open", f"The weights agree with {other} more than by chance, but weakly."
    return "open", f"The weights agree with {other}; whether strongly, these examples leave open."


def _by_class(subject: Subject, taus: Floats, p: Floats, kept: Floats) -> dict[str, object]:
    """Return the same by the class that the model gives, as Jain and Wallace's table 2 has it."""
    table: dict[str, object] = {}
    for number, name in enumerate(subject.classes):
        inside = kept & (subject.predicted == number)
        if inside.any():
            table[name] = {
                "mean": float(taus[inside].mean()),
                "sd": float(taus[inside].std()),
                "share_significant": float((p[inside] <= SIGNIFICANT).mean()),
                "n": int(inside.sum()),
            }
    return table


def _nothing(subject: Subject, test: str, measure: str) -> Finding:
    """Say that no example gave an order: all weights alike, or all of the other measure."""
    none = np.zeros(len(subject))
    zero = estimate(none, subject.seed)
    says = "No example has an order to compare: one of the two measures gives all words the same."
    return Finding(
        test, measure, zero, zero, "shuffled weights", "open", says, none, none, (-1.0, 1.0),
        {"without_tau": len(subject)},
    )  # fmt: skip
