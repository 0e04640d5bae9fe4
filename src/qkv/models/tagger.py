"""A label to each word of a sentence."""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from qkv.attention import Mask
from qkv.config import TaggerConfig
from qkv.models.annotators import real_words
from qkv.models.labeller import Decision, Labeller
from qkv.models.letters import Letters
from qkv.models.parts import build_attention


@final
class Tagger(Labeller):
    """A label to each word, which reads all the others (Cheng, Dong and Lapata 2016).

        h = encoder(E x),   alpha_i = normalize(score(h_i, h)),   c_i = sum_j alpha_ij h_j
        p(y_i | x) = softmax(W [h_i; c_i])

    No label knows of another: they are independent, given the sentence. With `characters`, x_j is
    embedded as [E x_j; r_j], r from the word's letters (see `Letters`): words that training has
    not seen are no longer all alike.

    Differs from the paper: its intra-attention is part of the recurrence, reads what came before
    and is additive; here it follows the encoder, reads the whole sentence, with any score.
    """

    predicts = "tags"

    def __init__(self, config: TaggerConfig, source_size: int, target_size: int) -> None:
        super().__init__(
            config,
            source_size,
            target_size,
            embedding=config.embedding,
            beside=config.characters,
        )
        self.spelled = config.characters > 0
        self.letters = Letters(config.characters) if self.spelled else None
        width = self.encoder.width
        self.attention = build_attention(config.attention, width, width)
        self.output = nn.Linear(2 * width, self.labels)

    def embed(
        self, tokens: Int[Tensor, "batch words *letters"]
    ) -> Float[Tensor, "batch words embedding"]:
        """See `Labeller`: with what the letters say beside it, where they are read."""
        if self.letters is None:
            return super().embed(tokens)
        return torch.cat([super().embed(tokens[..., 0]), self.letters(tokens[..., 1:])], dim=-1)

    def decide(
        self,
        annotations: Float[Tensor, "batch words width"],
        lengths: Int[Tensor, " batch"],
        weights: Float[Tensor, "batch words words"] | None = None,
    ) -> Decision:
        """See `Labeller`: each word reads the sentence by a row of weights of its own."""
        if weights is None:
            mask = Mask.lengths(lengths)
            weights = self.attention(annotations, annotations, mask=mask, need="weights").weights
        real = real_words(annotations, lengths)
        weights = torch.where(real.unsqueeze(1) & real.unsqueeze(2), weights, 0)
        states = torch.cat([annotations, weights @ annotations], dim=-1)
        return Decision(self.output(states), weights)

    def rows(
        self, decision: Decision, lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "words labels"]:
        """See `Labeller`: one a word."""
        return decision.logits[real_words(decision.logits, lengths)]
