"""A diagnostic: do the weights help a model that sees no context? (Wiegreffe and Pinter, sec. 3.3)

    h_t = tanh(W x_t + b),   y = softmax(V sum_t alpha_t h_t),   alpha given

Each word is read by itself, so whatever the weights know of the context must be in them. They are
imposed: equal ones, its own (trained with it), those of the model of the run, and those of the
adversary of `adversarial-model`, if that test ran before.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from qkv.data.randomness import generator
from qkv.explain.faithfulness.adversarial_model import given
from qkv.explain.faithfulness.finding import Estimate, Finding, Reading, estimate
from qkv.explain.faithfulness.fit import fit
from qkv.explain.faithfulness.material import Learning, Material, Tell
from qkv.explain.faithfulness.quality import correct, f1
from qkv.explain.faithfulness.subject import (
    Batch,
    Decision,
    Explained,
    Floats,
    Subject,
    see,
    softmax,
)

Rows = list[Floats]


def test(material: Material, tell: Tell) -> list[Finding]:
    """Train the diagnostic once with each guide, and compare."""
    subject, learning = material.subject, material.teaching
    parts = {"train": learning.train, "dev": learning.dev, "test": subject}
    guides: dict[str, dict[str, Rows] | None] = {
        "uniform": {name: _even(part) for name, part in parts.items()},
        "trained": None,
        "base": {name: part.seen.attention for name, part in parts.items()},
        "shuffled": {name: _shuffled(part) for name, part in parts.items()},
    }
    if adversary := learning.learned.get("adversary"):
        guides["adversarial"] = {
            name: see(adversary, part).attention for name, part in parts.items()
        }
    right: dict[str, Floats] = {}
    table: dict[str, object] = {}
    for number, (name, guide) in enumerate(guides.items()):

        def told(share: float, text: str, number: int = number, name: str = name) -> None:
            tell((number + share) / len(guides), f"MLP guided by {name} weights, {text}")

        probabilities = _guided(learning, subject, guide, material.settings.epochs, told)
        right[name] = correct(probabilities, subject.labels)
        scores = f1(probabilities, subject.labels, subject.classes)
        table[name] = {"accuracy": estimate(right[name], subject.seed).json(), "f1": scores}
    values, random = right["base"] - right["uniform"], right["shuffled"] - right["uniform"]
    value, baseline = estimate(values, subject.seed), estimate(random, subject.seed)
    reading, says = read(value)
    return [
        Finding(
            "mlp", "accuracy gained by a word-by-word model guided by the weights", value,
            baseline, "guided by shuffled weights", reading, says, values, random, (-1.0, 1.0),
            {"guided_by": table},
        )
    ]  # fmt: skip


def read(gain: Estimate) -> tuple[Reading, str]:
    """Say what a gain over equal weights means: it is paired, example by example."""
    seen = f"({gain.mean:+.3f}, 95 % [{gain.low:+.3f}, {gain.high:+.3f}])"
    if gain.low > 0:
        return "for", f"The weights help a model that knows nothing of their context {seen}."
    if gain.high <= 0:
        return "against", f"The weights do not help a model that sees no context {seen}."
    return "open", f"Whether the weights help a model without context stays open {seen}."


def _guided(
    learning: Learning,
    subject: Subject,
    guide: dict[str, Rows] | None,
    epochs: int,
    tell: Tell,
) -> Floats:
    """Train a diagnostic, and return what it says of the subject's examples."""
    model = learning.build(subject.seed, context=False)

    def loss(batch: Batch) -> Float[Tensor, ""]:
        targets = torch.from_numpy(learning.train.labels[batch.rows]).to(batch.tokens.device)
        logits = _decision(model, batch, guide["train"] if guide else None).logits
        return F.cross_entropy(logits, targets, reduction="sum")

    def judge() -> float:
        found = _outputs(model, learning.dev, guide["dev"] if guide else None)
        return float(correct(found, learning.dev.labels).mean())

    fit(model, learning.train, loss, judge, epochs, tell)
    return _outputs(model, subject, guide["test"] if guide else None)


def _decision(model: Explained, batch: Batch, rows: Rows | None) -> Decision:
    annotations = model.annotate(model.embed(batch.tokens), batch.lengths)
    weights = None if rows is None else given(rows, batch).to(annotations.dtype)
    return model.decide(annotations, batch.lengths, weights)


def _outputs(model: Explained, part: Subject, rows: Rows | None) -> Floats:
    found = np.zeros((len(part), len(part.classes)))
    with torch.no_grad():
        for batch in part.batches():
            found[batch.rows] = softmax(_decision(model, batch, rows)).cpu().double().numpy()
    return found


def _even(part: Subject) -> Rows:
    return [np.full(len(one), 1 / len(one)) for one in part.sequences]


def _shuffled(part: Subject) -> Rows:
    random = generator(part.seed, "mlp", "shuffle")
    return [random.permutation(row) for row in part.seen.attention]
