"""Attention at two levels, words and sentences, as one chain of layers over the words."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from qkv.explain.attribution.question import Mixing
from qkv.models.labeller import Levels

SENTENCES = "sentence_encoder"
"""How the names of the attentions between sentences begin."""


def mixing_of_levels(
    attentions: Mapping[str, Float[Tensor, "rows heads queries keys"]], levels: Levels
) -> Mixing:
    """Return the attentions of a hierarchical model as layers over its words and its output.

    The words of a sentence read each other (a self-attention gives half of itself to the residual
    connection, see `mixing_of`) and are pooled; the sentence is kept in the place of its first
    word from there on. Sentences read each other, and are pooled into the output, the last row.

    attentions: by name, in the model's order; a row a sentence, or for sentences one.
    levels: of one text.
    """
    sizes = levels.lengths.tolist()
    starts = [sum(sizes[:row]) for row in range(len(sizes))]
    blocks = [list(range(start, start + size)) for start, size in zip(starts, sizes, strict=True)]
    alpha, beta = levels.words[0].cpu(), levels.sentences[0].cpu()
    count = sum(sizes) + 1
    words, sentences = [], []
    for name, heads in attentions.items():
        mean = heads.mean(1).cpu()
        if name.startswith(SENTENCES):
            sentences.append(_layer(count, [(starts, starts, mean[0])], 0.5))
        else:
            read = [(block, block, mean[row]) for row, block in enumerate(blocks)]
            words.append(_layer(count, read, 0.5))
    pooled = _layer(count, [(block[:1], block, alpha[block][None]) for block in blocks], 0.0)
    output = _layer(count, [([count - 1], starts, beta[None])], 0.0)
    return Mixing((*words, pooled, *sentences, output), count - 1)


def _layer(count: int, reads: list[tuple[list[int], list[int], Tensor]], kept: float) -> Tensor:
    """Return the identity, but what reads: some of it kept, the rest mixed by its weights.

    reads: for some rows the columns that they read, and the weights; more of these are pads.
    """
    layer = torch.eye(count, dtype=reads[0][2].dtype)
    for rows, columns, weights in reads:
        layer[rows] *= kept
        mixed = (1 - kept) * weights[: len(rows), : len(columns)]
        layer[torch.tensor(rows)[:, None], torch.tensor(columns)] += mixed
    return layer
