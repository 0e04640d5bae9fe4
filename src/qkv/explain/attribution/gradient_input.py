"""Gradient times input (Shrikumar et al. 2016; in text, Denil, Demiraj and de Freitas 2014).

    saliency_ij = x_j . d log p(y_i) / d x_j

The first term of what the score would lose, were x_j zero; signed: above 0, the token speaks for
the output. Differs from the papers: none.
"""

from __future__ import annotations

from qkv.explain.attribution.gradient import gradients
from qkv.explain.attribution.question import Attribution, Question


def gradient_input(question: Question) -> Attribution:
    """Return the product of each embedding with the gradient of each output's score."""
    return Attribution((gradients(question) * question.embedded).sum(-1))
