"""Attention against leaving a word out (Jain and Wallace 2019, section 4.1).

d_t = TVD(y(x without word t), y(x)),   tau = Kendall(alpha, d)
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from qkv.explain.faithfulness.agreement import agreement, kendall
from qkv.explain.faithfulness.distances import tvd
from qkv.explain.faithfulness.finding import Finding, estimate
from qkv.explain.faithfulness.gradient import gradients
from qkv.explain.faithfulness.material import Material, Tell
from qkv.explain.faithfulness.subject import Batch, Floats, Subject, padded, softmax


def test(material: Material, tell: Tell) -> list[Finding]:
    """Hold the weights against leaving each word out, and gradients against it too."""
    subject = material.subject
    found = differences(subject, tell)
    measure = "Kendall tau of attention with leave-one-out"
    finding = agreement(subject, "leave-one-out", found, measure, "leaving a word out")
    words = [subject.words(example) for example in range(len(subject))]
    slopes = gradients(subject, lambda _share, _text: None)
    taus, _ = kendall(
        [row[keep] for row, keep in zip(slopes, words, strict=True)],
        [row[keep] for row, keep in zip(found, words, strict=True)],
    )
    taus = taus[~np.isnan(taus)]
    if len(taus) > 1:
        finding.facts["gradient_with_leave_one_out"] = estimate(taus, subject.seed).json()
    return [finding]


def differences(subject: Subject, tell: Tell) -> list[Floats]:
    """Return how far the output moves without each word; NaN for what is no word."""
    found = [np.full(len(one), np.nan) for one in subject.sequences]
    places = [
        (row, place)
        for row in np.argsort([-len(one) for one in subject.sequences]).tolist()
        for place in np.flatnonzero(subject.words(row)).tolist()
        if len(subject.sequences[row]) > 1
    ]
    whole = torch.from_numpy(subject.seen.probabilities)
    done = 0
    with torch.no_grad():
        for some, batch in _batches(subject, places):
            annotations = subject.model.annotate(subject.model.embed(batch.tokens), batch.lengths)
            outputs = softmax(subject.model.decide(annotations, batch.lengths)).cpu().double()
            moved = tvd(outputs, whole[batch.rows]).tolist()
            for (row, place), difference in zip(some, moved, strict=True):
                found[row][place] = difference
            done += len(some)
            tell(done / len(places), f"{done:,} of {len(places):,} words left out")
    return found


def _batches(
    subject: Subject, places: list[tuple[int, int]]
) -> Iterator[tuple[list[tuple[int, int]], Batch]]:
    """Give the examples without one word each, the longest first, in batches."""
    start = 0
    while start < len(places):
        longest = len(subject.sequences[places[start][0]])
        some = places[start : start + max(1, subject.tokens_per_batch // longest)]
        shortened = [
            [*subject.sequences[row][:place], *subject.sequences[row][place + 1 :]]
            for row, place in some
        ]
        yield some, padded(shortened, [row for row, _ in some], subject.device)
        start += len(some)
