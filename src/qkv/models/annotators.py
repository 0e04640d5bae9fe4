"""From the embedded words of a text to an annotation of each: what models of labels stand on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from qkv.attention import Mask
from qkv.config import TransformerConfig
from qkv.config.labellers import ENCODERS
from qkv.models.encoders import build_layers, read_layers
from qkv.models.positions import Sinusoidal
from qkv.models.transformer_layers import EncoderLayer
from qkv.nn.dropout import Dropout


class Settings(Protocol):
    """What a config says of an encoder."""

    @property
    def encoder(self) -> str:
        """Its name."""

    @property
    def hidden(self) -> int:
        """Its width."""

    @property
    def layers(self) -> int:
        """Its depth."""

    @property
    def heads(self) -> int:
        """Of a Transformer; 0: its default."""

    @property
    def feedforward(self) -> int:
        """Of a Transformer; 0: its default."""

    @property
    def dropout(self) -> float:
        """Its share."""


class Annotator(nn.Module, ABC):
    """Says of each word what it means in its text: zero at the pads, which change nothing."""

    width: int

    @abstractmethod
    def forward(
        self, embedded: Float[Tensor, "batch words embedding"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch words width"]:
        """Annotate the words of each text, of which lengths are real."""


class RecurrentAnnotator(Annotator):
    """h_j = [f(x_j, ->h_{j-1}); f(x_j, <-h_{j+1})], f an LSTM, GRU or tanh unit."""

    def __init__(self, settings: Settings, inputs: int) -> None:
        super().__init__()
        self.layers = build_layers(
            settings.encoder, inputs, settings.hidden, settings.layers, bidirectional=True
        )
        self.dropout = Dropout(settings.dropout)
        self.width = 2 * settings.hidden

    def forward(
        self, embedded: Float[Tensor, "batch words embedding"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch words width"]:
        """See `Annotator`."""
        return read_layers(self.layers, embedded, lengths, self.dropout).states


class TransformerAnnotator(Annotator):
    """The encoder of Vaswani et al. 2017, layer norm before each sub-layer, on W x_j.

    W takes the embeddings to the width of the layers, so that the two are free of each other.
    """

    def __init__(self, settings: Settings, inputs: int) -> None:
        super().__init__()
        self.width = settings.hidden
        config = TransformerConfig(
            width=settings.hidden,
            heads=settings.heads or 4,
            feedforward=settings.feedforward or 4 * settings.hidden,
            encoder_layers=settings.layers,
            dropout=settings.dropout,
        )
        self.enter = nn.Linear(inputs, settings.hidden)
        self.positions = Sinusoidal()
        self.dropout = Dropout(settings.dropout)
        self.layers = nn.ModuleList(EncoderLayer(config, n) for n in range(settings.layers))
        self.norm = nn.LayerNorm(settings.hidden)

    def forward(
        self, embedded: Float[Tensor, "batch words embedding"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch words width"]:
        """See `Annotator`."""
        mask = Mask.lengths(lengths)
        states = self.dropout(self.positions(self.enter(embedded)))
        for layer in self.layers:
            states = layer(states, mask)
        return self.norm(states) * real_words(states, lengths).unsqueeze(-1)


class ProjectionAnnotator(Annotator):
    """h_j = tanh(W x_j + b): no word knows of another (the "average" of Jain and Wallace 2019)."""

    def __init__(self, settings: Settings, inputs: int) -> None:
        super().__init__()
        self.width = settings.hidden
        self.project = nn.Linear(inputs, settings.hidden)
        self.dropout = Dropout(settings.dropout)

    def forward(
        self, embedded: Float[Tensor, "batch words embedding"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch words width"]:
        """See `Annotator`."""
        states = self.dropout(torch.tanh(self.project(self.dropout(embedded))))
        return states * real_words(states, lengths).unsqueeze(-1)


ANNOTATORS: dict[str, Callable[[Settings, int], Annotator]] = {
    "lstm": RecurrentAnnotator,
    "gru": RecurrentAnnotator,
    "rnn": RecurrentAnnotator,
    "transformer": TransformerAnnotator,
    "projection": ProjectionAnnotator,
}
assert tuple(ANNOTATORS) == ENCODERS


def build_annotator(settings: Settings, inputs: int) -> Annotator:
    """Build the encoder that a config names, for vectors of width `inputs`."""
    return ANNOTATORS[settings.encoder](settings, inputs)


def real_words(
    states: Float[Tensor, "batch words *width"], lengths: Int[Tensor, " batch"]
) -> Bool[Tensor, "batch words"]:
    """Which words are no pads."""
    return torch.arange(states.shape[1], device=states.device) < lengths.unsqueeze(1)
