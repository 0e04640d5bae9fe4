"""How far a gradient reaches: its norm by the number of steps that it has to cross.

    reach_k = mean over pairs, and over i, j with (S - 1 - j) + i = k, of || d f_i / d x_j ||_F

f_i are the features of output i, x_j the embedding of source token j of S. An encoder-decoder
without attention crosses S - 1 - j steps of its encoder and i of its decoder, k in all; attention
goes from i to j at once, as a skip connection. So reach_k falls with k in the first, exponentially
if its recurrence contracts (Bengio, Simard and Frasconi 1994; Pascanu, Mikolov and Bengio 2013),
and need not in the others.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from qkv.explain.attribution.jacobian import jacobian_norms
from qkv.explain.attribution.pair import ask
from qkv.models.model import EncoderDecoder


def gradient_by_distance(
    model: EncoderDecoder,
    sources: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    *,
    outputs: Sequence[int] | None = None,
) -> Float[Tensor, " distances"]:
    """Return reach_k for k = 0, 1, ... up to the longest distance there is; NaN where none is.

    Args:
        model: in eval mode.
        sources, targets: ids, without begin and end symbols.
        outputs: those that are looked at, such as [0], the first; None: all.

    Raises:
        ValueError: there is no pair, or more of one side than of the other.
    """
    if not sources or len(sources) != len(targets):
        raise ValueError(f"{len(sources)} sources and {len(targets)} targets; give one for each")
    sums: dict[int, list[float]] = {}
    for source, target in zip(sources, targets, strict=True):
        chosen = range(len(target) + 1) if outputs is None else outputs
        norms = jacobian_norms(ask(model, source, target), chosen)
        for i, row in zip(chosen, norms.tolist(), strict=True):
            for j, norm in enumerate(row):
                sums.setdefault(len(row) - 1 - j + i, []).append(norm)
    means = [sums.get(k, []) for k in range(max(sums) + 1)]
    return torch.tensor([sum(one) / len(one) if one else torch.nan for one in means])
