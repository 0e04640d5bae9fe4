"""Attention against gradients (Jain and Wallace 2019, algorithm 1).

    g_t = | dy / dx_t . x_t |,   tau = Kendall(alpha, g)

x_t is the embedding of word t, so g_t is the derivative of the output with respect to the word's
place in its one-hot vector. The weights are constants in it: the gradient does not pass through
the attention (the paper: "disconnect the computation graph at the attention module").
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from qkv.explain.faithfulness.agreement import agreement
from qkv.explain.faithfulness.finding import Finding
from qkv.explain.faithfulness.material import Material, Tell
from qkv.explain.faithfulness.subject import Batch, Explained, Floats, Subject, softmax


def test(material: Material, tell: Tell) -> list[Finding]:
    """Hold the weights against the gradients."""
    subject = material.subject
    found = gradients(subject, tell)
    measure = "Kendall tau of attention with gradients"
    return [agreement(subject, "gradient", found, measure, "the gradient")]


def gradients(subject: Subject, tell: Tell) -> list[Floats]:
    """Return the importance of every position of every example."""
    found: list[Floats] = [np.zeros(0)] * len(subject)
    done = 0
    for batch in subject.batches():
        importance = _of_batch(subject.model, batch).cpu().double().numpy()
        for row, values in zip(batch.rows, importance, strict=True):
            found[row] = values[: len(subject.sequences[row])]
        done += len(batch.rows)
        tell(done / len(subject), f"gradients of {done:,} examples")
    return found


def _of_batch(model: Explained, batch: Batch) -> Float[Tensor, "batch time"]:
    """Sum |dp_c / dx . x| over the classes; of two, one says all: the other is its negative."""
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):  # cuDNN has no backward
        embedded = model.embed(batch.tokens).detach().requires_grad_()  # in eval mode
        annotations = model.annotate(embedded, batch.lengths)
        weights = model.decide(annotations, batch.lengths).attention.detach()
        outputs = softmax(model.decide(annotations, batch.lengths, weights))
        classes = outputs.shape[1] if outputs.shape[1] > 2 else 1
        found = torch.zeros_like(weights)
        for number in range(classes):
            (gradient,) = torch.autograd.grad(
                outputs[:, number].sum(), embedded, retain_graph=number + 1 < classes
            )
            found += (gradient * embedded.detach()).sum(-1).abs()
    return found
