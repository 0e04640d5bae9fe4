"""Words: which tokens make one, so that a matrix of tokens can be read as one of words.

    A[u, w] = mean over tokens i of u, sum over tokens j of w, of a_ij

Summing over the source and averaging over the target keeps mass: a row of A sums to what the rows
of its tokens sum to on average.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

_MARKS = ("##", "▁", "Ġ")  # of WordPiece, SentencePiece and byte-level BPE


@dataclass(frozen=True)
class Words:
    """The words of one axis.

    labels: one a word. of: for each token the index of its word, in order, each word used.

    Raises:
        ValueError: an index goes back, leaves out a word, or has no label.
    """

    labels: tuple[str, ...]
    of: tuple[int, ...]

    def __post_init__(self) -> None:
        steps = zip((-1, *self.of), self.of, strict=False)
        if any(new - old not in (0, 1) for old, new in steps) or self.of[:1] not in ((), (0,)):
            raise ValueError(
                f"the words of the tokens are {list(self.of)[:20]}; they must start at 0 and rise "
                "by 0 or 1 from token to token"
            )
        if len(self.labels) != len(set(self.of)):
            raise ValueError(
                f"{len(self.labels)} labels for {len(set(self.of))} words; give one a word"
            )


def words(tokens: Sequence[str], ids: Sequence[int | None]) -> Words:
    """Group tokens by word ids, as a fast tokenizer's `word_ids()` gives them; None is alone.

    A word's label is its tokens joined, without the marks of WordPiece, SentencePiece and BPE.

    Raises:
        ValueError: not as many ids as tokens.
    """
    if len(tokens) != len(ids):
        raise ValueError(f"{len(tokens)} tokens, but {len(ids)} word ids; give one a token")
    of: list[int] = []
    for place, one in enumerate(ids):
        same = place > 0 and one is not None and one == ids[place - 1]
        of.append(of[-1] if same else (of[-1] + 1 if of else 0))
    labels = [""] * (of[-1] + 1 if of else 0)
    for token, word in zip(tokens, of, strict=True):
        labels[word] += _bare(token)
    return Words(tuple(labels), tuple(of))


def merge(
    weights: Float[np.ndarray, "targets sources"], target: Words, source: Words
) -> Float[np.ndarray, "target_words source_words"]:
    """Return the weights between words, in float64."""
    to_target, to_source = _membership(target), _membership(source)
    mean = to_target / to_target.sum(0)
    return mean.T @ weights.astype(np.float64) @ to_source


def _membership(words: Words) -> Float[np.ndarray, "tokens words"]:
    return np.eye(len(words.labels))[list(words.of)].reshape(len(words.of), len(words.labels))


def _bare(token: str) -> str:
    for mark in _MARKS:
        if token.startswith(mark) and token != mark:
            return token[len(mark) :]
    return token.removesuffix("@@") or token
