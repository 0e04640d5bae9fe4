"""Equal weights in place of the model's own (Wiegreffe and Pinter 2019, section 3.1).

The model stays as it is trained; only the weights that it reads through are replaced. What a model
does that was trained with equal weights is the test `uniform-trained`.
"""

from __future__ import annotations

import numpy as np
import torch

from qkv.explain.faithfulness.distances import tvd
from qkv.explain.faithfulness.finding import Finding, estimate
from qkv.explain.faithfulness.material import Material, Tell
from qkv.explain.faithfulness.permutation import permuted
from qkv.explain.faithfulness.quality import correct, f1, read_loss
from qkv.explain.faithfulness.subject import Floats, Subject, softmax


def test(material: Material, tell: Tell) -> list[Finding]:
    """Replace the weights by equal ones, and by shuffled ones."""
    subject = material.subject
    equal, shuffled = _outputs(subject)
    tell(1.0, "equal weights")
    own = correct(subject.seen.probabilities, subject.labels)
    values = own - correct(equal, subject.labels)
    random = own - correct(shuffled, subject.labels)
    value, baseline = estimate(values, subject.seed), estimate(random, subject.seed)
    reading, says = read_loss(value, "Reading through equal weights")
    moved = tvd(torch.from_numpy(equal), torch.from_numpy(subject.seen.probabilities)).numpy()
    facts = {
        "accuracy": estimate(own, subject.seed).json(),
        "f1": f1(subject.seen.probabilities, subject.labels, subject.classes),
        "f1_with_equal_weights": f1(equal, subject.labels, subject.classes),
        "tvd": estimate(moved, subject.seed).json(),
    }
    return [
        Finding(
            "uniform", "accuracy lost with equal weights", value, baseline, "shuffled weights",
            reading, says, values, random, (-1.0, 1.0), facts,
        )
    ]  # fmt: skip


def _outputs(subject: Subject) -> tuple[Floats, Floats]:
    """Return the probabilities with equal weights, and with the own ones shuffled."""
    shape = subject.seen.probabilities.shape
    equal, shuffled = np.zeros(shape), np.zeros(shape)
    model = subject.model
    with torch.no_grad():
        for batch in subject.batches():
            annotations = model.annotate(model.embed(batch.tokens), batch.lengths)
            own = model.decide(annotations, batch.lengths).attention
            even = batch.real.to(own.dtype) / batch.lengths[:, None]
            moved = permuted(own, batch.real, subject.draws("uniform", batch.rows[0]))
            for table, weights in ((equal, even), (shuffled, moved)):
                decision = model.decide(annotations, batch.lengths, weights)
                table[batch.rows] = softmax(decision).cpu().double().numpy()
    return equal, shuffled
