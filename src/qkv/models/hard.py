"""Exact hard attention (Wu, Shapiro and Cotterell 2018; Wu and Cotterell 2019)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from qkv.attention import scores
from qkv.config import HardConfig
from qkv.models.decoder import Step
from qkv.models.encoders import RecurrentEncoder
from qkv.models.model import EncoderDecoder, Forced
from qkv.models.output import LinearOutput, NoOutput
from qkv.models.parts import build_embedding, encoder_hidden
from qkv.nn.alignments import ALIGNMENTS, beginning
from qkv.nn.dropout import Dropout


@dataclass(frozen=True)
class HardSource:
    """What is prepared from the sources, once: for the score, and for the output layer."""

    keys: Float[Tensor, "batch source width"]
    read: Float[Tensor, "batch source hidden"]
    real: Bool[Tensor, "batch source"]

    def select(self, sentences: Int[Tensor, " kept"]) -> HardSource:
        """Keep these sentences."""
        return HardSource(self.keys[sentences], self.read[sentences], self.real[sentences])


@dataclass(frozen=True)
class HardState:
    """Hypotheses of an exact hard decoder.

    hidden, cells: of the recurrence. joint: log p(a_i = j, y_i = v | y_<i, x) of the token that is
        read next; whichever it is, its column is the forward variable.
    """

    hidden: Float[Tensor, "batch beams layers hidden"]
    cells: Float[Tensor, "batch beams layers hidden"]
    joint: Float[Tensor, "batch beams source words"]
    source: HardSource

    def select(self, sentences: Int[Tensor, " kept"], beams: Int[Tensor, "kept beams"]) -> Self:
        """Keep these sentences and, of each, continue these hypotheses."""
        rows = sentences.unsqueeze(1)
        return replace(
            self,
            hidden=self.hidden[rows, beams],
            cells=self.cells[rows, beams],
            joint=self.joint[rows, beams],
            source=self.source.select(sentences),
        )


class Hard(EncoderDecoder[HardState]):
    """Each output reads one source position, and the model sums over which.

        s_i = LSTM(s_{i-1}, E y_{i-1})                            (no source: s knows no alignment)
        p(y_i | a_i = j) = softmax(W tanh(U s_i + V h_j) + b),    e_ij = score(s_i, h_j)
        p(y_i | y_<i, x) = sum_j p(a_i = j | y_<i, x) p(y_i | a_i = j, y_<i, x)

    h are the annotations of a bidirectional LSTM; p(a_i = j | y_<i, x) is that of an `Alignment`:
    the softmax of the energies, or the forward algorithm over monotonic alignments. So the chain
    rule gives the exact p(y | x) to losses and searches, and the row of alignment is the prior
    p(a_i | y_<i, x).

    Cost: the output layer runs at each source position. Logits are [batch, target, source,
    vocabulary]: meant for vocabularies of characters and of other small inventories.

    Differs from the papers: the decoder starts from one learned state; tags of an inflection are
    read as symbols of the source; any score; the output's bias b.
    """

    attends = True

    def __init__(self, config: HardConfig, source_size: int, target_size: int) -> None:
        super().__init__()
        self.encoder = RecurrentEncoder(
            source_size,
            config.embedding,
            encoder_hidden(config.attention, config.hidden, bidirectional=True),
            cell="lstm",
            layers=config.layers,
            dropout=config.dropout,
        )
        self.target_embedding = build_embedding(
            target_size, config.embedding, tied=config.tie_embeddings
        )
        self.dropout = Dropout(config.dropout)
        self.first = nn.Parameter(torch.zeros(2, config.layers, config.hidden))
        self.recurrence = nn.LSTM(
            config.embedding,
            config.hidden,
            num_layers=config.layers,
            batch_first=True,
            dropout=config.dropout if config.layers > 1 else 0.0,
        )
        self.score = scores.build(
            config.attention.score,
            query_dim=config.hidden,
            key_dim=self.encoder.width,
            hidden=config.attention.hidden or config.hidden,
        )
        self.alignment = ALIGNMENTS[config.alignment]()
        self.combine_state = nn.Linear(config.hidden, config.hidden, bias=False)
        self.combine_annotation = nn.Linear(self.encoder.width, config.hidden, bias=False)
        self.speak = LinearOutput(
            config.hidden,
            target_size,
            dropout=0.0,  # what is read and what reads it are thinned instead: T + S, not T * S
            tied=self.target_embedding if config.tie_embeddings else None,
        )
        self.output = NoOutput(target_size)

    def force(
        self,
        source: Int[Tensor, "batch source"],
        lengths: Int[Tensor, " batch"],
        target: Int[Tensor, "batch time"],
        *,
        need_attention: bool = False,
    ) -> Forced:
        """Return log p(y_i = v | y_<i, x) as the features; see `EncoderDecoder.force`."""
        read = self._read(source, lengths)
        embedded = self.dropout(self.target_embedding(target))
        first = self.first.unsqueeze(2).expand(-1, -1, source.shape[0], -1).contiguous()
        states, _ = self.recurrence(embedded, (first[0], first[1]))
        energies, emission = self._ask(states, read)
        spoken = torch.cat([target[:, 1:], target[:, :1]], dim=1)  # at the last step: never read
        index = spoken[:, :, None, None].expand(-1, -1, emission.shape[2], 1)
        emitted = emission.gather(-1, index).squeeze(-1)
        prior = self.alignment.priors(energies, read.real, emitted)
        log_probs = (prior.unsqueeze(-1) + emission).logsumexp(2)
        return Forced(log_probs, prior.exp() if need_attention else None)

    def start(
        self, source: Int[Tensor, "batch source"], lengths: Int[Tensor, " batch"]
    ) -> HardState:
        """See `EncoderDecoder.start`."""
        read = self._read(source, lengths)
        hidden, cells = self.first[:, None, None].expand(-1, source.shape[0], 1, -1, -1)
        past = beginning(at_least_float32(read.keys[:, None, :, 0]))
        words = self.target_embedding.num_embeddings
        return HardState(hidden, cells, past.unsqueeze(-1).expand(-1, -1, -1, words), read)

    def step(self, tokens: Int[Tensor, "batch beams"], state: HardState) -> Step:
        """See `EncoderDecoder.step`."""
        index = tokens[:, :, None, None].expand(-1, -1, state.joint.shape[2], 1)
        past = state.joint.gather(-1, index).squeeze(-1).log_softmax(-1)
        embedded = self.dropout(self.target_embedding(tokens)).flatten(0, 1).unsqueeze(1)
        before = tuple(
            layers.flatten(0, 1).transpose(0, 1).contiguous()
            for layers in (state.hidden, state.cells)
        )
        states, after = self.recurrence(embedded, before)
        shape = tokens.shape
        energies, emission = self._ask(states.squeeze(1).unflatten(0, shape), state.source)
        prior = self.alignment.prior(energies, state.source.real, past)
        joint = prior.unsqueeze(-1) + emission
        hidden, cells = (layers.transpose(0, 1).unflatten(0, shape) for layers in after)
        return Step(joint.logsumexp(2), HardState(hidden, cells, joint, state.source), prior.exp())

    def _read(
        self, source: Int[Tensor, "batch source"], lengths: Int[Tensor, " batch"]
    ) -> HardSource:
        """Annotate the sources and project the annotations once."""
        states = self.encoder(source, lengths).states
        real = torch.arange(source.shape[1], device=source.device) < lengths.unsqueeze(1)
        return HardSource(self.score.prepare(states), self.combine_annotation(states), real)

    def _ask(
        self, states: Float[Tensor, "batch queries hidden"], source: HardSource
    ) -> tuple[Tensor, Tensor]:
        """Return the energies and log p(y_i = v | a_i = j), [batch, queries, source(, words)]."""
        energies: Tensor = self.score(states, source.keys)
        spoken = self.combine_state(self.dropout(states))
        read = torch.tanh(spoken.unsqueeze(2) + source.read.unsqueeze(1))
        emission = at_least_float32(self.speak(read)).log_softmax(-1)
        return at_least_float32(energies), emission


def at_least_float32(tensor: Tensor) -> Tensor:
    """Sums of probabilities need more digits than half precision has."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
