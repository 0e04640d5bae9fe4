"""Error rates of transductions, such as letters to sounds: PER, WER and accuracy.

    PER = 100 * total edits / total reference tokens     against the closest reference of each word
    WER = 100 * share of words that equal none of their references
    accuracy = 100 - WER

Tokens are what whitespace separates: phonemes in `K AE T`. A word may have several right answers
(Yao and Zweig 2015, section 4). For sentences, PER is what speech recognition calls the word error
rate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from qkv.evaluate.registry import References, Score, listed

_CHUNK = 512  # pairs at once: enough for numpy, little memory however long the longest pair is

Tokens = Sequence[str]


def per(hypotheses: Sequence[str], references: References) -> Score:
    """Return the phoneme (token) error rate.

    The closest reference has the fewest edits; of equals, it is the longest.

    Raises: ValueError if the references hold no token, or their number does not match.
    """
    lists = listed(hypotheses, references)
    pairs = [(i, text.split()) for i, texts in enumerate(lists) for text in texts]
    edits = edit_distances(
        [hypotheses[i].split() for i, _ in pairs], [tokens for _, tokens in pairs]
    )
    closest: dict[int, tuple[int, int]] = {}
    for (i, tokens), distance in zip(pairs, edits.tolist(), strict=True):
        candidate = (distance, -len(tokens))
        closest[i] = min(candidate, closest.get(i, candidate))
    total = -sum(length for _, length in closest.values())
    if total == 0:
        raise ValueError("the references hold no token: an error rate has nothing to divide by")
    value = 100 * sum(distance for distance, _ in closest.values()) / total
    return Score("per", value, f"tokens:whitespace|refs:closest|n:{len(lists)}")


def wer(hypotheses: Sequence[str], references: References) -> Score:
    """Return the share of words that equal none of their references, in percent."""
    lists = listed(hypotheses, references)
    wrong = sum(
        hypothesis.split() not in [text.split() for text in texts]
        for hypothesis, texts in zip(hypotheses, lists, strict=True)
    )
    return Score("wer", 100 * wrong / len(lists), f"tokens:whitespace|refs:any|n:{len(lists)}")


def accuracy(hypotheses: Sequence[str], references: References) -> Score:
    """Return the share of words that equal one of their references, in percent."""
    errors = wer(hypotheses, references)
    return Score("accuracy", 100 - errors.value, errors.signature)


def edit_distances(
    hypotheses: Sequence[Tokens], references: Sequence[Tokens]
) -> NDArray[np.int64]:
    """Return the Levenshtein distance of each pair: the fewest insertions, deletions, swaps.

    Many pairs go at once, one row of the table a time (Wagner and Fischer 1974):

        D[i, j] = min(D[i-1, j] + 1, D[i-1, j-1] + [h_i != r_j], D[i, j-1] + 1)

    The last term runs along the row: it is the running minimum of D[i, j] - j, plus j.
    """
    if len(hypotheses) != len(references):
        raise ValueError(f"{len(hypotheses)} hypotheses for {len(references)} references")
    distances = np.zeros(len(hypotheses), dtype=np.int64)
    for chunk in _chunks(hypotheses, references):
        distances[chunk] = _distances(
            [hypotheses[i] for i in chunk], [references[i] for i in chunk]
        )
    return distances


def _chunks(hypotheses: Sequence[Tokens], references: Sequence[Tokens]) -> Iterator[list[int]]:
    """Yield the pairs in chunks of about one size."""
    order = sorted(range(len(hypotheses)), key=lambda i: (len(references[i]), len(hypotheses[i])))
    for start in range(0, len(order), _CHUNK):
        yield order[start : start + _CHUNK]


def _distances(hypotheses: list[Tokens], references: list[Tokens]) -> NDArray[np.int64]:
    vocabulary: dict[str, int] = {}
    h, h_lengths = _padded(hypotheses, vocabulary)
    r, r_lengths = _padded(references, vocabulary)
    pairs, columns = np.arange(len(h)), np.arange(r.shape[1] + 1)
    row = np.broadcast_to(columns, (len(h), len(columns)))
    distances = r_lengths.copy()
    for i in range(1, h.shape[1] + 1):
        swapped = row[:, :-1] + (h[:, i - 1 : i] != r)
        deleted = row + 1
        best = np.concatenate([deleted[:, :1], np.minimum(deleted[:, 1:], swapped)], axis=1)
        row = np.minimum.accumulate(best - columns, axis=1) + columns
        distances = np.where(h_lengths == i, row[pairs, r_lengths], distances)
    return distances


def _padded(
    sequences: list[Tokens], vocabulary: dict[str, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number the tokens, and pad; no distance is read from beyond an end."""
    lengths = np.array([len(tokens) for tokens in sequences], dtype=np.int64)
    ids = np.full((len(sequences), int(lengths.max(initial=0))), -1, dtype=np.int64)
    for row, tokens in zip(ids, sequences, strict=True):
        row[: len(tokens)] = [vocabulary.setdefault(token, len(vocabulary)) for token in tokens]
    return ids, lengths
