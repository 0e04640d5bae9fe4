"""Attention that was never trained (Wiegreffe and Pinter 2019, section 3.1, "frozen").

The model of the run is trained again, by its own config and seed, with its attention kept where
it starts: at equal weights (`uniform-trained`, the paper's baseline), or at random parameters
(`frozen`). If it is as good, the task does not need trained attention, and a test on it says
little about explanation.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from qkv.explain.faithfulness.finding import Finding, estimate
from qkv.explain.faithfulness.material import Material, Tell
from qkv.explain.faithfulness.quality import correct, f1, read_loss
from qkv.explain.faithfulness.subject import see


def uniform(material: Material, tell: Tell) -> list[Finding]:
    """Train with equal weights."""
    return _trained(material, tell, "uniform-trained", "uniform", "Training with equal weights")


def frozen(material: Material, tell: Tell) -> list[Finding]:
    """Train with attention that stays as it is drawn."""
    return _trained(material, tell, "frozen", "frozen", "Training without training the attention")


def _trained(
    material: Material, tell: Tell, test: str, attention: Literal["uniform", "frozen"], named: str
) -> list[Finding]:
    subject = material.subject
    tell(0.0, f"training with {attention} attention")
    other = see(material.teaching.retrain(subject.seed, attention), subject)
    own = correct(subject.seen.probabilities, subject.labels)
    values = own - correct(other.probabilities, subject.labels)
    counts = np.bincount(material.teaching.train.labels, minlength=len(subject.classes))
    random = own - (subject.labels == counts.argmax())
    value, baseline = estimate(values, subject.seed), estimate(random, subject.seed)
    reading, says = read_loss(value, named)
    facts = {
        "accuracy": estimate(correct(other.probabilities, subject.labels), subject.seed).json(),
        "f1": f1(other.probabilities, subject.labels, subject.classes),
        "accuracy_of_the_run": float(own.mean()),
    }
    return [
        Finding(
            test, f"accuracy lost: {named.lower()}", value, baseline, "the commonest class",
            reading, says, values, random, (-1.0, 1.0), facts,
        )
    ]  # fmt: skip
