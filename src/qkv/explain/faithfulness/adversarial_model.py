"""A model trained to give the same outputs with other weights (Wiegreffe and Pinter 2019, sec. 4).

    L = TVD(y_a, y_b) - lambda KL(alpha_a || alpha_b)

a is the adversary, trained from scratch by the run's config; b is the model of the run. Unlike the
adversary of one example, it must find its weights by rules that hold for all.

Differs from the paper: one lambda (5e-4, about theirs for SST), of the epochs the one with the
smallest loss on the dev set.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from qkv.data.randomness import generator
from qkv.explain.faithfulness.adversarial import FAR, NEAR
from qkv.explain.faithfulness.distances import JSD_MOST, kl, tvd
from qkv.explain.faithfulness.finding import Estimate, Finding, Reading, estimate
from qkv.explain.faithfulness.fit import fit
from qkv.explain.faithfulness.material import Material, Tell
from qkv.explain.faithfulness.quality import correct, f1
from qkv.explain.faithfulness.seeds import divergences
from qkv.explain.faithfulness.subject import Batch, Explained, Subject, see, softmax

SAME = 0.05
"""A mean TVD of the outputs below which the adversary counts as giving the same ones."""


def test(material: Material, tell: Tell) -> list[Finding]:
    """Train the adversary and see how far its weights are, and its outputs."""
    subject = material.subject
    other = see(trained(material, tell), subject)
    values = divergences(subject.seen.attention, other.attention)
    shuffle = generator(subject.seed, "adversarial-model", "shuffle")
    shuffled = [shuffle.permutation(row) for row in subject.seen.attention]
    random = divergences(subject.seen.attention, shuffled)
    moved = tvd(
        torch.from_numpy(other.probabilities), torch.from_numpy(subject.seen.probabilities)
    ).numpy()
    value, baseline = estimate(values, subject.seed), estimate(random, subject.seed)
    outputs = estimate(moved, subject.seed)
    reading, says = read(value, outputs)
    facts = {
        "lambda": material.settings.divergence,
        "tvd_of_the_outputs": outputs.json(),
        "accuracy": estimate(correct(other.probabilities, subject.labels), subject.seed).json(),
        "f1": f1(other.probabilities, subject.labels, subject.classes),
    }
    return [
        Finding(
            "adversarial-model", "JSD of the weights to those of a trained adversary", value,
            baseline, "the model's own weights, shuffled", reading, says, values, random,
            (0.0, JSD_MOST), facts,
        )
    ]  # fmt: skip


def read(apart: Estimate, outputs: Estimate) -> tuple[Reading, str]:
    """Say what the adversary's weights mean, given how near its outputs came."""
    seen = f"weights apart by JSD {apart.mean:.2f}, outputs by TVD {outputs.mean:.3f}"
    if apart.low >= FAR and outputs.high <= SAME:
        return "against", f"A model learned the same outputs with very different weights ({seen})."
    if apart.high <= NEAR:
        return "for", f"The adversary ended near the model's own weights ({seen})."
    if outputs.low > SAME:
        return "for", f"The adversary had to change the outputs to change its weights ({seen})."
    return "open", f"The adversary moved the weights in part ({seen})."


def trained(material: Material, tell: Tell) -> Explained:
    """Return the adversary, trained once."""
    learning, subject = material.teaching, material.subject
    if "adversary" not in learning.learned:
        adversary = learning.build(subject.seed + 100, context=True)
        weight = material.settings.divergence

        def loss(part: Subject, batch: Batch) -> Float[Tensor, ""]:
            return _loss(adversary, part, batch, weight)

        def judge() -> float:
            with torch.no_grad():
                total = sum(float(loss(learning.dev, batch)) for batch in learning.dev.batches())
            return -total / len(learning.dev)

        epochs = material.settings.epochs
        fit(
            adversary, learning.train, lambda batch: loss(learning.train, batch), judge, epochs,
            lambda share, text: tell(share, f"adversary, {text}"),
        )  # fmt: skip
        learning.learned["adversary"] = adversary
    return learning.learned["adversary"]


def _loss(adversary: Explained, part: Subject, batch: Batch, weight: float) -> Float[Tensor, ""]:
    """Return the adversary's loss, summed over a batch of a part of the data."""
    annotations = adversary.annotate(adversary.embed(batch.tokens), batch.lengths)
    decision = adversary.decide(annotations, batch.lengths)
    outputs = torch.from_numpy(part.seen.probabilities[batch.rows]).to(decision.logits)
    base = given(part.seen.attention, batch).to(decision.attention)
    apart = tvd(softmax(decision), outputs) - weight * kl(decision.attention, base)
    return apart.sum()


def given(attention: list[np.ndarray], batch: Batch) -> Float[Tensor, "batch time"]:
    """Return rows of weights, padded as the batch is."""
    weights = torch.zeros(batch.tokens.shape)
    for place, row in enumerate(batch.rows):
        weights[place, : len(attention[row])] = torch.from_numpy(attention[row])
    return weights.to(batch.tokens.device)
