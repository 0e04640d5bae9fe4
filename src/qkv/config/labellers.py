"""The models that give labels: to a text, or to each of its words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from qkv.config.attention import AttentionConfig
from qkv.config.kinds import STRICT, Count, Natural, Share, known
from qkv.config.slots import of_a_labeller, of_one_query

ENCODERS = ("lstm", "gru", "rnn", "transformer", "projection")

METRICS = {
    "classifier": ("accuracy", "f1-macro"),
    "hierarchical": ("accuracy", "f1-macro"),
    "tagger": ("token-accuracy", "f1-macro"),
}
"""What each kind is measured with where nothing else is asked for."""


def _check_encoder(encoder: str, heads: int, feedforward: int, layers: int) -> None:
    """Refuse an unknown encoder, and keys that it does not have."""
    known("model.encoder", encoder, ENCODERS)
    for name, value in (("heads", heads), ("feedforward", feedforward)):
        if value and encoder != "transformer":
            raise ValueError(
                f'model.{name} = {value} is for model.encoder = "transformer", and the encoder '
                f'is "{encoder}"; leave it out'
            )
    if encoder == "projection" and layers != 1:
        raise ValueError(
            f'model.layers = {layers}, but model.encoder = "projection" is one layer; leave it out'
        )


@dataclass(frozen=True)
class ClassifierConfig:
    """A text to a label: encoder, attention with a learned query, linear layer.

    With its defaults the BiLSTM of Jain and Wallace 2019. A label is one word.
    """

    __pydantic_config__ = STRICT

    kind: Literal["classifier"] = "classifier"
    """The model."""
    encoder: str = "lstm"
    """lstm, gru or rnn (each in both directions), transformer, or projection (a layer a word)."""
    attention: AttentionConfig = field(default_factory=AttentionConfig)
    """What pools the words; the paper's are additive and scaled_dot."""
    embedding: Count = 300
    """Width of the embeddings."""
    hidden: Count = 128
    """Width of each direction, of the projection, or of the Transformer."""
    layers: Count = 1
    """Depth of the encoder."""
    heads: Natural = 0
    """Of a Transformer: heads of its self-attention; 0: 4."""
    feedforward: Natural = 0
    """Of a Transformer: width of its feed-forward layers; 0: 4 times hidden."""
    dropout: Share = 0.2
    """On the embeddings, between layers and on the annotations."""

    def __post_init__(self) -> None:
        _check_encoder(self.encoder, self.heads, self.feedforward, self.layers)
        of_one_query(self.attention)


@dataclass(frozen=True)
class HierarchicalConfig:
    """Yang et al. 2016: words to sentences, sentences to a text, attention at both."""

    __pydantic_config__ = STRICT

    kind: Literal["hierarchical"] = "hierarchical"
    """The model."""
    encoder: str = "gru"
    """Of words and of sentences: lstm, gru or rnn (each in both directions), transformer, or
    projection."""
    attention: AttentionConfig = field(default_factory=AttentionConfig)
    """What pools words and sentences; the paper's is additive."""
    sentence_ends: tuple[str, ...] = (".", "!", "?")
    """Tokens that end a sentence; several side by side end it once."""
    embedding: Count = 200
    """Width of the embeddings."""
    hidden: Count = 50
    """Width of each direction, of the projection, or of the Transformer."""
    layers: Count = 1
    """Depth of each encoder."""
    heads: Natural = 0
    """Of a Transformer: heads of its self-attention; 0: 4."""
    feedforward: Natural = 0
    """Of a Transformer: width of its feed-forward layers; 0: 4 times hidden."""
    dropout: Share = 0.2
    """On the embeddings, between layers and on the annotations."""

    def __post_init__(self) -> None:
        _check_encoder(self.encoder, self.heads, self.feedforward, self.layers)
        of_one_query(self.attention)
        if not self.sentence_ends:
            raise ValueError(
                'model.sentence_ends names no token; give some, such as [".", "!", "?"], or take '
                'model.kind = "classifier", which knows no sentences'
            )


@dataclass(frozen=True)
class TaggerConfig:
    """A label to each word: encoder, self-attention over the sentence, linear layer."""

    __pydantic_config__ = STRICT

    kind: Literal["tagger"] = "tagger"
    """The model."""
    encoder: str = "lstm"
    """lstm, gru or rnn (each in both directions), transformer, or projection (a layer a word)."""
    attention: AttentionConfig = field(default_factory=lambda: AttentionConfig(score="scaled_dot"))
    """What each word reads of the sentence."""
    embedding: Count = 128
    """Width of the embeddings."""
    characters: Natural = 0
    """Filters of a convolution over the letters of each word, beside its embedding (Ma and Hovy
    2016); 0: words alone."""
    hidden: Count = 128
    """Width of each direction, of the projection, or of the Transformer."""
    layers: Count = 1
    """Depth of the encoder."""
    heads: Natural = 0
    """Of a Transformer: heads of its self-attention; 0: 4."""
    feedforward: Natural = 0
    """Of a Transformer: width of its feed-forward layers; 0: 4 times hidden."""
    dropout: Share = 0.3
    """On the embeddings, between layers and on the annotations."""

    def __post_init__(self) -> None:
        _check_encoder(self.encoder, self.heads, self.feedforward, self.layers)
        of_a_labeller(self.attention)
