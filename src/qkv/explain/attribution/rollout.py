"""Attention rollout (Abnar and Zuidema 2020, section 3, eq. 1).

    M_l = (W_l + I) / 2,   rollout = M_L ... M_2 M_1

W_l are the weights of layer l, averaged over its heads; the I is the residual connection. How much
of each input is mixed into each token at the top, if nothing but attention moved anything.

Differs from the paper: a decoder has its part too. Inputs and outputs are one list of tokens, and
each attention of a decoder mixes some of them (see `pair.mixing_of`), so that the row of an output
adds up to 1 over inputs and what was written so far; the part over the inputs is returned.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from jaxtyping import Float
from torch import Tensor

from qkv.explain.attribution.question import Attribution, Question


def attention_rollout(question: Question) -> Attribution:
    """Return the rollout of each output over the inputs.

    Raises:
        ValueError: the model has no attention to its inputs.
    """
    layers, tokens = question.mixing()
    return Attribution(rollout(layers)[tokens:, :tokens])


def rollout(layers: Sequence[Float[Tensor, "n n"]]) -> Float[Tensor, "n n"]:
    """Return the product of the layers, the first (nearest to the inputs) on the right."""
    return reduce(lambda below, layer: layer @ below, layers)


def residual(weights: Float[Tensor, "heads n n"]) -> Float[Tensor, "n n"]:
    """Return the mean of the heads, half of it given to the residual connection."""
    mean = weights.mean(0)
    return (mean + torch.eye(len(mean), dtype=mean.dtype, device=mean.device)) / 2
