"""The Jacobian of what a model makes of an input: its implicit attention.

    saliency_ij = || d f_i / d x_j ||_F

f_i are the features that output i is read off, all of them, so that no word is singled out: how
much output i can feel of token j. A network without attention has such a picture too; Graves
(2020, lecture "Attention and memory in deep learning") calls it implicit attention.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from qkv.explain.attribution.question import ROWS, Attribution, Question, parts


def jacobian(question: Question) -> Attribution:
    """Return the Frobenius norm of each block of the Jacobian of the features."""
    return Attribution(jacobian_norms(question))


def jacobian_norms(
    question: Question, outputs: Sequence[int] | None = None
) -> Float[Tensor, "outputs tokens"]:
    """Return the norms of these outputs' blocks; None: of all.

    One pass forward over as many copies of the input as go back at a time; each way back takes
    one dimension of one output for each copy.
    """
    with torch.no_grad():
        _, count, width = question.features(question.copies(1)).shape
    chosen = torch.tensor(range(count) if outputs is None else outputs)
    total = len(chosen) * width
    rows = question.copies(min(ROWS, total)).detach().clone().requires_grad_()
    features = question.features(rows)
    squares = rows.new_zeros(len(chosen), rows.shape[1])
    for part in parts(total, len(rows)):
        flat = torch.tensor(part)
        row = torch.arange(len(part))
        picked = features[row, chosen[flat // width], flat % width].sum()
        (found,) = torch.autograd.grad(picked, rows, retain_graph=True)
        which = (flat // width).to(rows.device)
        squares.index_add_(0, which, found[: len(part)].square().sum(-1))
    return squares.sqrt()
