"""The same model from other seeds (Wiegreffe and Pinter 2019, section 3.2).

    JSD(alpha_seed, alpha), mean over the seeds

How far attention differs between trainings that differ by chance alone. An adversary that stays
within that has found nothing; weights that another seed does not reproduce explain one model, not
the task.
"""

from __future__ import annotations

import numpy as np
import torch

from qkv.data.randomness import generator
from qkv.explain.faithfulness.distances import JSD_MOST, jsd, tvd
from qkv.explain.faithfulness.finding import (
    Estimate,
    Finding,
    Reading,
    by_sharpness,
    estimate,
)
from qkv.explain.faithfulness.material import Material, Tell
from qkv.explain.faithfulness.quality import correct
from qkv.explain.faithfulness.subject import Floats, Subject, see


def test(material: Material, tell: Tell) -> list[Finding]:
    """Train with other seeds and compare the weights."""
    subject, seeds = material.subject, material.settings.seeds
    apart, random, moved, accuracies = [], [], [], []
    shuffle = generator(subject.seed, "seeds", "shuffle")
    for number in range(1, seeds + 1):
        tell((number - 1) / seeds, f"training seed {number} of {seeds}")
        other = see(material.teaching.retrain(subject.seed + number, "own"), subject)
        apart.append(divergences(subject.seen.attention, other.attention))
        shuffled = [shuffle.permutation(row) for row in other.attention]
        random.append(divergences(subject.seen.attention, shuffled))
        moved.append(_outputs_apart(subject, other.probabilities))
        accuracies.append(float(correct(other.probabilities, subject.labels).mean()))
    values, chance = np.mean(apart, 0), np.mean(random, 0)
    value, baseline = estimate(values, subject.seed), estimate(chance, subject.seed)
    reading, says = read(value, baseline)
    own = correct(subject.seen.probabilities, subject.labels)
    facts = {
        "seeds": seeds,
        "jsd_of_each_seed": [float(one.mean()) for one in apart],
        "tvd_of_the_outputs": estimate(np.mean(moved, 0), subject.seed).json(),
        "accuracies": [float(own.mean()), *accuracies],
        "by_largest_weight": by_sharpness(subject.sharpest, values),
    }
    return [
        Finding(
            "seeds", "JSD of the weights to those of other seeds", value, baseline,
            "the other seeds' weights, shuffled", reading, says, values, chance,
            (0.0, JSD_MOST), facts,
        )
    ]  # fmt: skip


def read(value: Estimate, baseline: Estimate) -> tuple[Reading, str]:
    """Say what a mean divergence between seeds means, beside that to shuffled weights."""
    if value.low >= baseline.low:
        return "against", (
            "The weights of another seed are no nearer than shuffled ones: they are an accident "
            "of the training."
        )
    if value.high <= baseline.low / 2:
        return "for", (
            f"Other seeds find much the same weights (JSD {value.mean:.2f}, shuffled "
            f"{baseline.mean:.2f})."
        )
    return "open", (
        f"Other seeds find weights that are alike in part (JSD {value.mean:.2f}, shuffled "
        f"{baseline.mean:.2f})."
    )


def divergences(first: list[Floats], second: list[Floats]) -> Floats:
    """Return the JSD of each example's two rows of weights."""
    pairs = zip(first, second, strict=True)
    return np.array(
        [float(jsd(torch.from_numpy(one), torch.from_numpy(other))) for one, other in pairs]
    )


def _outputs_apart(subject: Subject, probabilities: Floats) -> Floats:
    outputs = torch.from_numpy(subject.seen.probabilities)
    return tvd(torch.from_numpy(probabilities), outputs).numpy()
