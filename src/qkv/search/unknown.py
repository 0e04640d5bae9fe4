"""Unknown output words, replaced through the attention.

Each <unk> becomes the translation, or a copy, of the source word that it attends to most (Luong,
Sutskever et al. 2015; Jean et al. 2015).

Differs from the papers: the word comes from the user's text, never from the vocabulary, so that it
is not <unk> itself; its alignment is the attention, not that of a separate aligner.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from qkv.text import UNK, Encoded, Token
from qkv.text.tokens import assign


class Replacement(NamedTuple):
    """One unknown word that was replaced.

    position: of the output token. word: the raw source word, source text[start:end].
    text: what was written: the dictionary's translation of the word, or the word.
    weight: the attention that the word got.
    """

    position: int
    word: str
    start: int
    end: int
    text: str
    weight: float


class Replaced(NamedTuple):
    """The output's pieces without <unk>, and what was replaced."""

    pieces: tuple[str, ...]
    trace: tuple[Replacement, ...]


def replace_unknown(
    ids: Sequence[int],
    pieces: Sequence[str],
    attention: Float[Tensor, "length columns"] | None,
    source: Encoded,
    dictionary: Mapping[str, str] | None = None,
    *,
    units: Sequence[Token] | None = None,
) -> Replaced:
    """Replace each <unk> of an output by the source word with the most attention.

    EOS and tokens of nothing but space are no words. Where the source has no word at all, <unk>
    stays, and the trace does not list it.

    Args:
        ids: the output's tokens, without BOS and EOS.
        pieces: the same as the target's vocabulary spells them; join them after.
        attention: a row for each output token (one more for EOS may follow), a column for each
            source token and one for EOS.
        source: the encoded source: its raw text, and each token's place in it.
        dictionary: translations of raw source words; a word that it lacks is copied.
        units: what counts as a word, such as `words_of(source.text)` where tokens are subwords: a
            word's attention is the sum over its tokens. None: each token is a word.

    Raises:
        ValueError: the model has no attention; pieces, attention and source do not match.
    """
    if attention is None:
        raise ValueError(
            "unknown words cannot be replaced: this model has no attention, so nothing says "
            "which source word an output word belongs to; use a model with attention"
        )
    if len(pieces) != len(ids):
        raise ValueError(f"{len(pieces)} pieces for {len(ids)} output tokens")
    if len(attention) < len(ids) or attention.shape[1] != len(source.tokens) + 1:
        raise ValueError(
            f"the attention is {attention.shape[0]} x {attention.shape[1]}, for {len(ids)} output "
            f"tokens and {len(source.tokens)} source tokens with EOS: it is of another output"
        )
    owners: Sequence[int] = range(len(source.tokens))
    if units is None:
        units = source.tokens
    elif units:
        owners = assign(source.tokens, units)
    words = [_raw(source, unit) for unit in units]
    candidates = [index for index, (word, _, _) in enumerate(words) if word]
    written, trace = list(pieces), []
    for position, token in enumerate(ids):
        if token == UNK and candidates:
            weights = [0.0] * len(units)
            for owner, weight in zip(owners, attention[position].tolist(), strict=False):
                weights[owner] += weight
            best = max(candidates, key=weights.__getitem__)
            word, start, end = words[best]
            written[position] = (dictionary or {}).get(word, word)
            trace.append(Replacement(position, word, start, end, written[position], weights[best]))
    return Replaced(tuple(written), tuple(trace))


def _raw(source: Encoded, unit: Token) -> tuple[str, int, int]:
    """Return the user's own text of a unit, without the space around it, and its place."""
    text = source.text[unit.start : unit.end]
    start = unit.start + len(text) - len(text.lstrip())
    return text.strip(), start, start + len(text.strip())
