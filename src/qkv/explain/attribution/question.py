"""What every method asks, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

ROWS = 256
"""Copies of an input that a model reads at a time, each changed in its own way."""

Rows = Float[Tensor, "rows tokens dim"]
Features = Float[Tensor, "rows outputs width"]


@dataclass(frozen=True, eq=False)
class Question:
    """One input, and what a model says of it: all that a method knows.

    embedded: the embeddings of the input's tokens.
    baseline: what stands for a token that says nothing.
    features: from embeddings, a row a copy of the input, to what each output is read off.
    score: from features of any leading shape, and which output each belongs to, to the score of
        that output, such as log p of its token. Rows do not see each other.
    mixing: how attention mixes tokens, layer after layer, the first first: see `Mixing`.
    """

    embedded: Float[Tensor, "tokens dim"]
    baseline: Float[Tensor, "tokens dim"]
    features: Callable[[Rows], Features]
    score: Callable[[Float[Tensor, "*rows width"], Int[Tensor, "*rows"]], Float[Tensor, "*rows"]]
    mixing: Callable[[], Mixing]

    def copies(self, rows: int) -> Rows:
        """Return the embeddings `rows` times."""
        return self.embedded.expand(rows, -1, -1)

    def scores(self, embedded: Rows) -> Float[Tensor, "rows outputs"]:
        """Return the scores of all outputs, for each row."""
        features = self.features(embedded)
        outputs = torch.arange(features.shape[1], device=features.device)
        return self.score(features, outputs.expand(len(features), -1))


class Mixing(NamedTuple):
    """A model's attention as a chain of matrices over all its tokens, inputs first.

    layers: in [n, n], row u says what token u is made of, of the tokens one layer below.
    tokens: how many of the n are inputs; the others are outputs.
    """

    layers: tuple[Float[Tensor, "n n"], ...]
    tokens: int


class Attribution(NamedTuple):
    """What a method says.

    values: how much output i hangs on token j; signed where the method has a sign.
    gap: of each output, by how much its row misses the change that it should add up to; None where
        a method promises no sum.
    """

    values: Float[Tensor, "outputs tokens"]
    gap: Float[Tensor, " outputs"] | None = None


class Method(Protocol):
    """A method is a function."""

    def __call__(self, question: Question) -> Attribution:
        """Answer."""
        ...


def parts(count: int, size: int) -> Iterator[range]:
    """Cut 0 ... count - 1 into runs of at most `size`."""
    for start in range(0, count, size):
        yield range(start, min(start + size, count))
