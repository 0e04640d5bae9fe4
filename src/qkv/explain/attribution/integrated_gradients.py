"""Integrated gradients (Sundararajan, Taly and Yan 2017, eq. 1), by the library captum.

    saliency_ij = (x_j - b_j) . integral_0^1 d F_i(b + a (x - b)) / d x_j da,   F_i = log p(y_i)

b is the baseline of all tokens at once. A row adds up to F_i(x) - F_i(b) (completeness); by how
much the sum over points of the path misses that is the gap. A row that misses more than a
hundredth of that change (or of a nat) gets twice the points, up to `MOST`. Differs from the paper:
Gauss-Legendre points, of which a smooth path needs fewer.
"""

from __future__ import annotations

from importlib.util import find_spec

import torch
from jaxtyping import Float, Int
from torch import Tensor

from qkv.explain.attribution.question import ROWS, Attribution, Question

FIRST, MOST = 32, 256
ENOUGH = 0.01


def integrated_gradients(question: Question) -> Attribution:
    """Return the integrated gradients of each output's score, and the gap of each row.

    Raises:
        ValueError: captum is not installed.
    """
    if find_spec("captum") is None:
        raise ValueError(
            "integrated gradients need the package captum: pip install 'qkv[explain]'; "
            "gradient-input and leave-one-out do not"
        )
    with torch.no_grad():
        scores = question.scores(question.copies(1))[0]
    values = scores.new_zeros(len(scores), len(question.embedded))
    gap = torch.zeros_like(scores)
    left, steps = torch.arange(len(scores), device=scores.device), FIRST
    while len(left) and steps <= MOST:
        for outputs in left.split(max(1, ROWS // steps)):
            values[outputs], gap[outputs] = _integrate(question, outputs, steps)
        change = values.sum(1) - gap
        left = (gap.abs() > ENOUGH * change.abs().clamp(min=1)).nonzero()[:, 0]
        steps *= 2
    return Attribution(values, gap)


def _integrate(
    question: Question, outputs: Int[Tensor, " rows"], steps: int
) -> tuple[Float[Tensor, "rows tokens"], Float[Tensor, " rows"]]:
    """Ask captum with this many points: a row an output, all its points in the same batch."""
    from captum.attr import IntegratedGradients

    rows = question.copies(len(outputs))
    found, gap = IntegratedGradients(question.scores).attribute(
        rows,
        question.baseline.expand_as(rows),
        target=outputs,
        n_steps=steps,
        return_convergence_delta=True,
    )
    return found.sum(-1).detach(), gap.detach().to(found.dtype)
