"""What every model of labels is to training and to those who look at it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from qkv.data.batches import pad_ids
from qkv.models.annotators import Annotator, Settings, build_annotator
from qkv.models.model import Model
from qkv.models.parts import small_embedding
from qkv.text.letters import spell
from qkv.text.side import Encoded
from qkv.text.vocabulary import PAD, SPECIALS


class Levels(NamedTuple):
    """What a hierarchical model attended to at both levels.

    words: of each word within its sentence. sentences: of each sentence in its text. lengths: the
    words of each sentence of any text, one after another.
    """

    words: Float[Tensor, "batch words"]
    sentences: Float[Tensor, "batch sentences"]
    lengths: Int[Tensor, " rows"]


class Decision(NamedTuple):
    """What a model of labels says of a batch, and where it looked.

    logits: of a text [batch, labels]; of a tagger, of each word: [batch, words, labels].
    attention: of a text [batch, words]; of a tagger, a row a word: [batch, words, words]. Zero at
        the pads.
    levels: of a hierarchical model, whose attention is their product.

    A label's number is its id in the target vocabulary, less the specials.
    """

    logits: Float[Tensor, "batch *words labels"]
    attention: Float[Tensor, "batch *words words"]
    levels: Levels | None = None


class Labeller(Model):
    """p(label | text), from an annotation of each word: embed, annotate, decide.

    Texts are token ids without an end symbol, padded; lengths count what is real, at least 1. The
    three steps are apart for those who ask what would be if something in between were otherwise.
    Where a model is `spelled`, a token is a row: its id, and the letters of its word.

    beside: width of what the encoder reads of a word beside its embedding.
    """

    attends = True

    def __init__(
        self,
        settings: Settings,
        source_size: int,
        target_size: int,
        *,
        embedding: int,
        beside: int = 0,
    ) -> None:
        super().__init__()
        self.labels = target_size - len(SPECIALS)
        self.embedding = small_embedding(source_size, embedding)
        self.encoder: Annotator = build_annotator(settings, embedding + beside)

    def read_texts(
        self, texts: Sequence[Encoded]
    ) -> tuple[Int[Tensor, "batch words *letters"], Int[Tensor, " batch"]]:
        """Return encoded texts as the model wants them."""
        letters = [spell(token.text for token in one.tokens) for one in texts]
        return without_end(*pad_ids([one.ids for one in texts], letters if self.spelled else None))

    def embed(self, tokens: Int[Tensor, "batch words"]) -> Float[Tensor, "batch words embedding"]:
        """Return the words' embeddings."""
        embedded: Tensor = self.embedding(tokens)
        return embedded

    def annotate(
        self, embedded: Float[Tensor, "batch words embedding"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch words width"]:
        """Return what the encoder says of each word; zero at the pads."""
        annotations: Tensor = self.encoder(embedded, lengths)
        return annotations

    @abstractmethod
    def decide(
        self,
        annotations: Float[Tensor, "batch words width"],
        lengths: Int[Tensor, " batch"],
        weights: Float[Tensor, "batch *words words"] | None = None,
    ) -> Decision:
        """Attend to the annotations, and say which label they mean.

        weights: what to weigh them with in place of the model's own attention; differentiable, as
            the annotations are. What is given for a pad does not count.
        """

    def forward(
        self, tokens: Int[Tensor, "batch words *letters"], lengths: Int[Tensor, " batch"]
    ) -> Decision:
        """Read the texts and decide."""
        return self.decide(self.annotate(self.embed(tokens), lengths), lengths)

    def silence(
        self, tokens: Int[Tensor, "batch words *letters"]
    ) -> Float[Tensor, "batch words embedding"]:
        """Return what stands for words that say nothing: the embedding of a pad for each."""
        return self.embed(torch.full_like(tokens, PAD))

    @abstractmethod
    def rows(
        self, decision: Decision, lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "asked labels"]:
        """Return the logits of each label that is asked for, text after text."""


def without_end(
    source: Int[Tensor, "batch source *letters"], lengths: Int[Tensor, " batch"]
) -> tuple[Int[Tensor, "batch words *letters"], Int[Tensor, " batch"]]:
    """Return a batch of sources without their end symbols.

    In rows that are not the longest one it stays where a pad may stand, and counts as one.
    """
    return source[:, :-1], lengths - 1
