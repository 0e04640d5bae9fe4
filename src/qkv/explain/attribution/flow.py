"""Attention flow (Abnar and Zuidema 2020, section 3): the most that can flow through the layers.

The layers of `rollout` as a network of pipes: from token u of a layer to token v of the one below
it a pipe of capacity M_l[u, v]. The flow of an output to an input is the largest one between the
two alone. Where rollout multiplies along a path, here the narrowest pipe of it counts.

Differs from the paper: a decoder has its part too, as in `rollout`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from qkv.explain.attribution.question import Attribution, Question

_UNIT = 2**29  # scipy's flows are whole numbers below 2^31; a token's pipes sum to about 1


def attention_flow(question: Question) -> Attribution:
    """Return the largest flow of each output to each input.

    Raises:
        ValueError: the model has no attention to its inputs, or scipy is not installed.
    """
    layers, tokens = question.mixing()
    return Attribution(flow(layers, range(tokens, len(layers[0])), range(tokens)))


def flow(
    layers: Sequence[Float[Tensor, "n n"]], tops: Sequence[int], bottoms: Sequence[int]
) -> Float[Tensor, "tops bottoms"]:
    """Return the largest flow from each of `tops` (above the last layer) to each of `bottoms`.

    Capacities are rounded to 2^-29: a flow is off by at most that for each pipe of a cut.

    Raises:
        ValueError: scipy is not installed.
    """
    if find_spec("scipy") is None:
        raise ValueError(
            "attention flow needs the package scipy: pip install 'qkv[explain]'; rollout does not"
        )
    from scipy.sparse.csgraph import maximum_flow

    pipes, count = _pipes(layers), len(layers[0])
    above = len(layers) * count
    found = [
        [maximum_flow(pipes, above + top, bottom).flow_value / _UNIT for bottom in bottoms]
        for top in tops
    ]
    return torch.tensor(found, dtype=layers[0].dtype).reshape(len(tops), len(bottoms))


def _pipes(layers: Sequence[Tensor]) -> Any:
    """Return the network; token u of layer l (from 0, the inputs) is node l n + u."""
    from scipy.sparse import csr_array

    count, levels = len(layers[0]), len(layers) + 1
    rows, columns, widths = [], [], []
    for level, layer in enumerate(layers, start=1):
        whole = np.rint(layer.detach().cpu().double().numpy() * _UNIT).astype(np.int32)
        upper, lower = whole.nonzero()
        rows.append(level * count + upper)
        columns.append((level - 1) * count + lower)
        widths.append(whole[upper, lower])
    places = np.concatenate(rows).astype(np.int32), np.concatenate(columns).astype(np.int32)
    return csr_array((np.concatenate(widths), places), shape=(levels * count,) * 2)
