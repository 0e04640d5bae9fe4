"""A text to a label (Jain and Wallace 2019, section 2)."""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from qkv.config import ClassifierConfig
from qkv.models.annotators import real_words
from qkv.models.labeller import Decision, Labeller
from qkv.models.pooling import Pooling


@final
class Classifier(Labeller):
    """A text to a label: attention with a learned query (Jain and Wallace 2019, section 2).

        h = encoder(E x),   alpha = normalize(score(u, h)),   c = sum_j alpha_j h_j
        p(y | x) = softmax(W c)

    With an LSTM and the additive score it is the paper's model.

    Differs from the paper: embeddings are learned from the start; dropout; begin and end of the
    text have no symbols of their own.
    """

    predicts = "label"

    def __init__(self, config: ClassifierConfig, source_size: int, target_size: int) -> None:
        super().__init__(config, source_size, target_size, embedding=config.embedding)
        self.pooling = Pooling(config.attention, self.encoder.width)
        self.output = nn.Linear(self.encoder.width, self.labels)

    def decide(
        self,
        annotations: Float[Tensor, "batch words width"],
        lengths: Int[Tensor, " batch"],
        weights: Float[Tensor, "batch words"] | None = None,
    ) -> Decision:
        """See `Labeller`: one row of weights."""
        if weights is None:
            weights = self.pooling(annotations, lengths)
        weights = torch.where(real_words(annotations, lengths), weights, 0)
        context = (weights.unsqueeze(1) @ annotations).squeeze(1)
        return Decision(self.output(context), weights)

    def rows(
        self, decision: Decision, lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch labels"]:
        """See `Labeller`: one a text."""
        return decision.logits
