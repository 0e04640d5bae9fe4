"""The gradient of a score (Simonyan, Vedaldi and Zisserman 2014; in text, Li et al. 2016).

    g_ij = d log p(y_i) / d x_j,   saliency_ij = ||g_ij||_2

x_j is the embedding of token j. Differs from the paper: the Euclidean norm over the dimensions,
where it has the largest of absolute values (of an image's channels).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from qkv.explain.attribution.question import ROWS, Attribution, Question, parts


def gradient(question: Question) -> Attribution:
    """Return the norm of the gradient of each output's score by each embedding."""
    return Attribution(gradients(question).norm(dim=-1))


def gradients(question: Question) -> Float[Tensor, "outputs tokens dim"]:
    """Return d score_i / d x_j: one pass for many outputs, each with a copy of the input."""
    with torch.no_grad():
        count = question.features(question.copies(1)).shape[1]
    found: list[Tensor] = []
    for part in parts(count, ROWS):
        outputs = torch.tensor(part, device=question.embedded.device)
        rows = question.copies(len(part)).detach().clone().requires_grad_()
        own = question.features(rows)[torch.arange(len(part), device=rows.device), outputs]
        found += torch.autograd.grad(question.score(own, outputs).sum(), rows)
    return torch.cat(found)
