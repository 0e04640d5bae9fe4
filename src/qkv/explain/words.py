"""Alignments out of attention: drop EOS, merge tokens into words, pick links.

    A[u, w] = mean over tokens i of u, sum over tokens j of w, of a_ij

Summing over the source and averaging over the target keeps mass: a row of A sums to what its
tokens put on the source words, which is 1 less their mean weight on EOS. Links of words come from
the merged weights, not from links of subwords.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from qkv.explain.alignment import Alignment, Link
from qkv.explain.linkers import Linker
from qkv.text.side import Encoded
from qkv.text.tokens import Token, assign, words_of

Weights = Float[Tensor, "target source"]


def align_words(
    attention: Float[Tensor, "length columns"],
    source: Encoded,
    target: Encoded,
    *,
    method: str = "argmax",
    threshold: float = 0.5,
    renormalize: bool = False,
) -> Alignment:
    """Align the whitespace-separated words of the source's text and the target's text.

    Args:
        attention: a row for each target token, and one for EOS if the output is complete; a column
            for each source token and one for EOS. EOS is dropped.
        source, target: the texts and their tokens.
        method: argmax (each target word's best source word), argmax-source (the reverse), mutual
            (both agree), threshold (every pair of at least `threshold`).
        renormalize: divide each row by its sum, to share out what went to EOS.

    Raises:
        ValueError: attention of another shape; an unknown method; a threshold outside (0, 1].
    """
    merged = word_weights(attention, source, target)
    words = words_of(source.text), words_of(target.text)
    return _align(merged, *words, Linker(method, threshold), renormalize)


def word_weights(
    attention: Float[Tensor, "*many length columns"], source: Encoded, target: Encoded
) -> Float[Tensor, "*many target_words source_words"]:
    """Return the weights between words: A above, of one attention or of many.

    Raises:
        ValueError: attention of another shape.
    """
    matrix = _without_eos(attention, len(source.tokens), len(target.tokens))
    to_source = _membership(source.tokens, words_of(source.text)).to(matrix)
    to_target = _membership(target.tokens, words_of(target.text)).to(matrix)
    mean = to_target / to_target.sum(0).clamp(min=1)
    return mean.T @ matrix @ to_source


def align_tokens(
    attention: Float[Tensor, "length columns"],
    source: Encoded,
    target: Encoded,
    *,
    method: str = "argmax",
    threshold: float = 0.5,
    renormalize: bool = False,
) -> Alignment:
    """Align tokens: letters and phonemes, or subwords. See `align_words`.

    A unit's text is the symbol of the vocabulary; its place is that in the text.
    """
    matrix = _without_eos(attention, len(source.tokens), len(target.tokens))
    linker = Linker(method, threshold)
    return _align(matrix, source.tokens, target.tokens, linker, renormalize)


def _without_eos(attention: Tensor, columns: int, rows: int) -> Tensor:
    """Check the shape, and drop the row and the column of EOS."""
    shape = tuple(attention.shape[-2:])
    if shape not in {(rows, columns + 1), (rows + 1, columns + 1)}:
        raise ValueError(
            f"the attention is {' x '.join(map(str, shape))}, but {rows} target and {columns} "
            f"source tokens need {rows + 1} x {columns + 1} (EOS included on both sides), or "
            f"{rows} x {columns + 1} for an output that was cut before its EOS"
        )
    return attention[..., :rows, :columns]


def _membership(tokens: Sequence[Token], words: Sequence[Token]) -> Float[Tensor, "tokens words"]:
    """Return 1 where a token is part of a word. Every token is part of one, if there are words."""
    membership = torch.zeros(len(tokens), len(words))
    if words:
        membership[range(len(tokens)), assign(tokens, words)] = 1
    return membership


def _align(
    matrix: Weights,
    source: Sequence[Token],
    target: Sequence[Token],
    linker: Linker,
    renormalize: bool,
) -> Alignment:
    if renormalize:
        mass = matrix.sum(1, keepdim=True)
        matrix = matrix / mass.masked_fill(mass == 0, 1)
    links = tuple(
        Link(j, i, float(matrix[i, j])) for i, j in linker.links(matrix).nonzero().tolist()
    )
    return Alignment(tuple(source), tuple(target), matrix, links, str(linker), renormalize)
