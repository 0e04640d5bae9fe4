"""What recurrent decoders share: their state, and the loop over a known target."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Self

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from qkv.attention import Prepared
from qkv.models.decoder import Step
from qkv.models.model import EncoderDecoder, Forced
from qkv.nn.dropout import Dropout
from qkv.nn.reinforce import joined


@dataclass(frozen=True)
class RecurrentState:
    """Hypotheses of a recurrent decoder.

    hidden: tensors of each hypothesis, each [batch, beams, width].
    memory: what was prepared from the source, once a sentence; its hypotheses share it.
    time: how many tokens each hypothesis has read.
    """

    hidden: tuple[Float[Tensor, "batch beams width"], ...]
    memory: Prepared | None
    time: int = 0

    def places(self, queries: int) -> Int[Tensor, " queries"]:
        """Where hypotheses side by side stand in the target: all of them here."""
        device = self.hidden[0].device
        return torch.zeros(queries, dtype=torch.long, device=device) + self.time

    def select(self, sentences: Int[Tensor, " kept"], beams: Int[Tensor, "kept beams"]) -> Self:
        """Keep these sentences and, of each, continue these hypotheses."""
        rows = sentences.unsqueeze(1)
        return replace(
            self,
            hidden=tuple(tensor[rows, beams] for tensor in self.hidden),
            memory=None if self.memory is None else self.memory.select(sentences),
        )


class RecurrentDecoder(EncoderDecoder[RecurrentState]):
    """An encoder-decoder whose decoder reads one token after another."""

    target_embedding: nn.Embedding
    dropout: Dropout

    @abstractmethod
    def start(
        self, source: Int[Tensor, "batch source"], lengths: Int[Tensor, " batch"]
    ) -> RecurrentState:
        """Encode the sources; the state holds one empty hypothesis for each."""

    @abstractmethod
    def advance(
        self,
        embedded: Float[Tensor, "batch beams embedding"],
        state: RecurrentState,
        *,
        need_attention: bool,
    ) -> tuple[Forced, RecurrentState]:
        """Read one token a hypothesis; the features' time axis counts the hypotheses."""

    def force(
        self,
        source: Int[Tensor, "batch source"],
        lengths: Int[Tensor, " batch"],
        target: Int[Tensor, "batch time"],
        *,
        need_attention: bool = False,
    ) -> Forced:
        """See `EncoderDecoder.force`."""
        state = self.start(source, lengths)
        return self.force_from(state, target, need_attention=need_attention)

    def force_from(
        self,
        state: RecurrentState,
        target: Int[Tensor, "batch time"],
        *,
        need_attention: bool = False,
    ) -> Forced:
        """Read `target` from a start, one token after another, as search does."""
        embedded = self.dropout(self.target_embedding(target))
        steps = []
        for token in embedded.split(1, dim=1):
            forced, state = self.advance(token, state, need_attention=need_attention)
            steps.append(forced)
        rows = [step.attention for step in steps if step.attention is not None]
        draws = [step.drawn for step in steps if step.drawn is not None]
        return Forced(
            torch.cat([step.features for step in steps], dim=1),
            torch.cat(rows, dim=1) if rows else None,
            joined(draws) if draws else None,
        )

    def step(self, tokens: Int[Tensor, "batch beams"], state: RecurrentState) -> Step:
        """See `EncoderDecoder.step`."""
        embedded = self.dropout(self.target_embedding(tokens))
        forced, state = self.advance(embedded, state, need_attention=self.attends)
        log_probs = self.output(forced.features).log_softmax(-1)
        return Step(log_probs, state, forced.attention)
