"""What is examined: a model that pools by attention, and labelled examples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from qkv.data import sorted_batches
from qkv.data.randomness import generator
from qkv.text.vocabulary import BOS, EOS, PAD

Floats = NDArray[np.float64]


class Decision(Protocol):
    """What a model says of a batch: its logits [batch, classes], its weights [batch, time]."""

    @property
    def logits(self) -> Float[Tensor, "batch classes"]:
        """The logits."""

    @property
    def attention(self) -> Float[Tensor, "batch time"]:
        """The weights of the positions."""


class Explained(Protocol):
    """A model whose decision reads annotations through one row of weights."""

    def embed(self, tokens: Int[Tensor, "batch time"]) -> Float[Tensor, "batch time embedding"]:
        """Embed the tokens."""

    def annotate(
        self,
        embedded: Float[Tensor, "batch time embedding"],
        lengths: Int[Tensor, " batch"],
    ) -> Float[Tensor, "batch time width"]:
        """Read the embeddings."""

    def decide(
        self,
        annotations: Float[Tensor, "batch time width"],
        lengths: Int[Tensor, " batch"],
        weights: Float[Tensor, "batch time"] | None = None,
    ) -> Decision:
        """Decide; weights, where given, stand in for the model's own."""


class Batch(NamedTuple):
    """Padded examples: tokens, lengths, and which examples they are."""

    tokens: Int[Tensor, "batch time"]
    lengths: Int[Tensor, " batch"]
    rows: list[int]

    @property
    def real(self) -> Bool[Tensor, "batch time"]:
        """True where a token stands, not a pad."""
        return (
            torch.arange(self.tokens.shape[1], device=self.tokens.device) < self.lengths[:, None]
        )


class Seen(NamedTuple):
    """A model's decisions: probabilities [examples, classes]; of each example its weights."""

    probabilities: Floats
    attention: list[Floats]


@dataclass(frozen=True)
class Subject:
    """A model, and the examples that it is examined on.

    sequences: ids as the model reads them. labels: the class of each. classes: their names.
    Draws depend on the seed, the test and the examples alone.
    """

    model: Explained
    sequences: Sequence[Sequence[int]]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    tokens_per_batch: int = 2048
    seed: int = 1
    device: str = "cpu"

    def __post_init__(self) -> None:
        if len(self.sequences) < 2:
            raise ValueError(
                f"{len(self.sequences)} examples: an interval needs 2 or more; raise --limit, or "
                "give a larger split"
            )

    def __len__(self) -> int:
        return len(self.sequences)

    def batches(self) -> Iterator[Batch]:
        """Give the examples in batches, the longest first."""
        for rows in sorted_batches([len(one) for one in self.sequences], self.tokens_per_batch):
            yield self.batch(rows)

    def batch(self, rows: list[int]) -> Batch:
        """Return these examples, padded."""
        return padded([self.sequences[row] for row in rows], rows, self.device)

    def words(self, example: int) -> NDArray[np.bool_]:
        """Return True at the positions of an example that are words, not marks of begin or end."""
        return ~np.isin(self.sequences[example], (PAD, BOS, EOS))

    def draws(self, *names: object) -> torch.Generator:
        """Return random numbers that belong to a test."""
        number = generator(self.seed, *map(str, names)).integers(2**63)
        return torch.Generator().manual_seed(int(number))

    @cached_property
    def seen(self) -> Seen:
        """What the model decides, with its own weights."""
        return see(self.model, self)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The class that the model gives each example."""
        return self.seen.probabilities.argmax(1)

    @property
    def sharpest(self) -> Floats:
        """Each example's largest weight."""
        return np.array([weights.max() for weights in self.seen.attention])


def padded(sequences: Sequence[Sequence[int]], rows: list[int], device: str) -> Batch:
    """Return sequences as a batch; `rows` says which examples they are."""
    lengths = torch.tensor([len(one) for one in sequences])
    tokens = torch.full((len(sequences), int(lengths.max())), PAD)
    for place, one in enumerate(sequences):
        tokens[place, : len(one)] = torch.tensor(list(one))
    return Batch(tokens.to(device), lengths.to(device), rows)


def see(model: Explained, subject: Subject) -> Seen:
    """Return what a model, not always the subject's own, decides on the subject's examples."""
    probabilities = np.zeros((len(subject), len(subject.classes)))
    attention: list[Floats] = [np.zeros(0)] * len(subject)
    with torch.no_grad():
        for batch in subject.batches():
            annotations = model.annotate(model.embed(batch.tokens), batch.lengths)
            decision = model.decide(annotations, batch.lengths)
            probabilities[batch.rows] = softmax(decision).cpu().double().numpy()
            for row, weights in zip(batch.rows, decision.attention.cpu().double(), strict=True):
                attention[row] = weights[: len(subject.sequences[row])].numpy()
    return Seen(probabilities, attention)


def softmax(decision: Decision) -> Float[Tensor, "batch classes"]:
    """Return a decision's probabilities."""
    return decision.logits.softmax(-1)
