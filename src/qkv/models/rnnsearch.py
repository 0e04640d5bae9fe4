"""RNNsearch: learn to align and translate (Bahdanau, Cho and Bengio 2015)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from qkv.attention import Mask
from qkv.config import RNNsearchConfig
from qkv.models.encoders import RecurrentEncoder
from qkv.models.model import Forced
from qkv.models.output import MaxoutOutput
from qkv.models.parts import (
    build_attention,
    build_embedding,
    drawn_of,
    encoder_hidden,
    need_of,
)
from qkv.models.recurrent import RecurrentDecoder, RecurrentState
from qkv.models.written import source_of
from qkv.nn.attentive import Weights, attentive_gru
from qkv.nn.dropout import Dropout
from qkv.nn.gated import merged_biases


class RNNsearch(RecurrentDecoder):
    """Attention from the previous decoder state, its context into the gated unit.

        s_0 = tanh(W_s <-h_1)
        alpha_i = softmax(score(s_{i-1}, h)),   c_i = alpha_i h         (eqs. 5 and 6)
        s_i = GRU(s_{i-1}, [E y_{i-1}; c_i]),   p(y_i) = maxout output(s_i, E y_{i-1}, c_i)

    h are the annotations of a bidirectional GRU. The additive score starts with v = 0, so that
    attention is uniform before training (appendix B.1).

    Differs from the paper: the reset gate of torch's GRU is applied after the matrix product;
    torch's initialisation; any depth of encoder.
    """

    attends = True

    def __init__(self, config: RNNsearchConfig, source_size: int, target_size: int) -> None:
        super().__init__()
        self.encoder = RecurrentEncoder(
            source_size,
            config.embedding,
            config.encoder_hidden
            or encoder_hidden(config.attention, config.hidden, bidirectional=True),
            layers=config.layers,
            dropout=config.dropout,
        )
        width = self.encoder.width
        self.target_embedding = build_embedding(
            target_size, config.embedding, tied=config.tie_embeddings
        )
        self.dropout = Dropout(config.dropout)
        self.initial = nn.Linear(width // 2, config.hidden)
        self.attention = build_attention(config.attention, config.hidden, width)
        self.cell = nn.GRUCell(config.embedding + width, config.hidden)
        self.output = MaxoutOutput(
            config.hidden + config.embedding + width,
            config.maxout,
            target_size,
            dropout=config.dropout,
            tied=self.target_embedding if config.tie_embeddings else None,
        )

    def start(
        self, source: Int[Tensor, "batch source"], lengths: Int[Tensor, " batch"]
    ) -> RecurrentState:
        """Annotate the sources and project the annotations once."""
        annotations = self.encoder(source, lengths)
        state = torch.tanh(self.initial(annotations.first_backward))
        memory = self.attention.prepare(annotations.states, mask=Mask.lengths(lengths))
        return RecurrentState((state.unsqueeze(1),), memory)

    def force(
        self,
        source: Int[Tensor, "batch source"],
        lengths: Int[Tensor, " batch"],
        target: Int[Tensor, "batch time"],
        *,
        need_attention: bool = False,
    ) -> Forced:
        """Where the loops of `qkv.nn` do, all steps are one function, gradients included."""
        state = self.start(source, lengths)
        assert state.memory is not None
        asked = source_of(self.attention, state.memory, target.shape[1], self.cell.weight_ih)
        if asked is None:
            return self.force_from(state, target, need_attention=need_attention)
        embedded = self.dropout(self.target_embedding(target)).transpose(0, 1)
        to_gates, to_context = self.cell.weight_ih.split(
            [embedded.shape[-1], asked.values.shape[-1]], dim=1
        )
        bias, offset = merged_biases(self.cell.bias_ih, self.cell.bias_hh)
        read = attentive_gru(
            F.linear(embedded, to_gates, bias),
            state.hidden[0].squeeze(1),
            asked,
            Weights(to_context, self.cell.weight_hh, offset),
        )
        features = torch.cat([read.states, embedded, read.contexts], dim=-1).transpose(0, 1)
        return Forced(features, read.weights.transpose(0, 1) if need_attention else None)

    def advance(
        self,
        embedded: Float[Tensor, "batch beams embedding"],
        state: RecurrentState,
        *,
        need_attention: bool,
    ) -> tuple[Forced, RecurrentState]:
        """See `RecurrentDecoder.advance`."""
        assert state.memory is not None
        (previous,) = state.hidden
        attended = self.attention.attend(
            previous,
            state.memory,
            need=need_of(self.attention, need_attention=need_attention),
            positions=state.places(previous.shape[1]),
        )

        def speak(contexts: Float[Tensor, "batch queries read width"]) -> Tensor:
            shape = contexts.shape[:3]
            inputs = torch.cat([embedded.unsqueeze(2).expand(*shape, -1), contexts], dim=-1)
            before = previous.unsqueeze(2).expand(*shape, -1)
            after = self.cell(inputs.flatten(0, 2), before.flatten(0, 2)).view_as(before)
            return torch.cat([after, inputs], dim=-1)

        inputs = torch.cat([embedded, attended.context], dim=-1)
        current = self.cell(inputs.flatten(0, 1), previous.flatten(0, 1)).view_as(previous)
        features = torch.cat([current, inputs], dim=-1)
        drawn = drawn_of(attended, state.memory, speak, lasting=True)
        return Forced(features, attended.weights, drawn), RecurrentState(
            (current,), state.memory, state.time + 1
        )
