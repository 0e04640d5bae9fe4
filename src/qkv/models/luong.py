"""Effective approaches to attention-based translation (Luong, Pham and Manning 2015)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from qkv.attention import Mask
from qkv.config import LuongConfig
from qkv.models.encoders import RecurrentEncoder
from qkv.models.model import Forced
from qkv.models.output import LinearOutput
from qkv.models.parts import (
    build_attention,
    build_embedding,
    drawn_of,
    encoder_hidden,
    need_of,
)
from qkv.models.recurrent import RecurrentDecoder, RecurrentState
from qkv.models.written import source_of
from qkv.nn.dropout import Dropout
from qkv.nn.feeding import Combine, Layer, Said, fed_lstm
from qkv.nn.lstm import layer_of
from qkv.nn.reading import Source


class Luong(RecurrentDecoder):
    """A stacked LSTM whose top state attends, then speaks.

        h_t = LSTM(h_{t-1}, [E y_{t-1}; h~_{t-1}])              (h~ only with input feeding, 3.3)
        a_t = softmax(score(h_t, h_s)),   c_t = a_t h_s         (eqs. 7 and 8)
        h~_t = tanh(W_c [c_t; h_t]),   p(y_t) = softmax(W_s h~_t + b)          (eqs. 5 and 6)

    The decoder starts from the encoder's last states and cells.

    Differs from the paper: the output's bias b; if asked, an encoder of two directions, whose
    last states and cells one linear map brings to the decoder's width; torch's initialisation.
    """

    attends = True

    def __init__(self, config: LuongConfig, source_size: int, target_size: int) -> None:
        super().__init__()
        self.encoder = RecurrentEncoder(
            source_size,
            config.embedding,
            encoder_hidden(config.attention, config.hidden, bidirectional=config.bidirectional),
            cell="lstm",
            layers=config.layers,
            bidirectional=config.bidirectional,
            dropout=config.dropout,
        )
        width = self.encoder.width
        self.input_feeding = config.input_feeding
        self.target_embedding = build_embedding(
            target_size, config.embedding, tied=config.tie_embeddings
        )
        self.dropout = Dropout(config.dropout)
        self.bridge = nn.Linear(width, config.hidden) if config.bidirectional else nn.Identity()
        self.recurrence = nn.LSTM(
            config.embedding + (config.hidden if config.input_feeding else 0),
            config.hidden,
            num_layers=config.layers,
            batch_first=True,
            dropout=config.dropout if config.layers > 1 else 0.0,
        )
        self.attention = build_attention(config.attention, config.hidden, width)
        self.combine = nn.Linear(width + config.hidden, config.hidden, bias=False)
        self.output = LinearOutput(
            config.hidden,
            target_size,
            dropout=config.dropout,
            tied=self.target_embedding if config.tie_embeddings else None,
        )

    def start(
        self, source: Int[Tensor, "batch source"], lengths: Int[Tensor, " batch"]
    ) -> RecurrentState:
        """Encode; the state is the attentional vector, the hidden layers and their cells."""
        annotations = self.encoder(source, lengths)
        hidden = self.bridge(annotations.final).unsqueeze(2)
        cells = self.bridge(annotations.cells).unsqueeze(2)
        memory = self.attention.prepare(annotations.states, mask=Mask.lengths(lengths))
        return RecurrentState(
            (torch.zeros_like(hidden[-1]), *hidden.unbind(0), *cells.unbind(0)), memory
        )

    def force(
        self,
        source: Int[Tensor, "batch source"],
        lengths: Int[Tensor, " batch"],
        target: Int[Tensor, "batch time"],
        *,
        need_attention: bool = False,
    ) -> Forced:
        """Without input feeding nothing comes between the steps: one call for all of them.

        With it, where the loops of `qkv.nn` do, all steps are one function, gradients included.
        """
        state = self.start(source, lengths)
        assert state.memory is not None
        if not self.input_feeding:
            embedded = self.dropout(self.target_embedding(target))
            outputs, _ = self.recurrence(embedded, self._pack(state))
            places = torch.arange(target.shape[1], device=target.device)
            return self._attend(outputs, places, state, need_attention=need_attention)
        asked = source_of(self.attention, state.memory, target.shape[1], self.combine.weight)
        if asked is None:
            return self.force_from(state, target, need_attention=need_attention)
        said = self._feed(target, state, asked)
        rows = said.weights.transpose(0, 1) if need_attention else None
        return Forced(said.attentional.transpose(0, 1), rows)

    def _feed(
        self, target: Int[Tensor, "batch time"], state: RecurrentState, source: Source
    ) -> Said:
        """Run all steps with input feeding."""
        embedded = self.dropout(self.target_embedding(target)).transpose(0, 1)
        count, hidden = self.recurrence.num_layers, self.recurrence.hidden_size
        starts = [tensor.squeeze(1) for tensor in state.hidden[1:]]
        own = [layer_of(self.recurrence, k) for k in range(count)]
        to_lowest, to_fed = own[0].read.split([embedded.shape[-1], hidden], dim=1)
        reads = [to_fed, *(weights.read for weights in own[1:])]
        layers = [
            Layer(
                starts[k],
                starts[count + k],
                torch.cat([reads[k], weights.recurrent], dim=1),
                weights.bias if k else None,
            )
            for k, weights in enumerate(own)
        ]
        to_context, to_state = self.combine.weight.split([source.values.shape[-1], hidden], dim=1)
        between = embedded.new_ones(count - 1, *embedded.shape[:2], hidden)
        return fed_lstm(
            F.linear(embedded, to_lowest, own[0].bias),
            layers,
            source,
            Combine(to_context, to_state),
            self.dropout(between) if self.training and self.recurrence.dropout else None,
        )

    def advance(
        self,
        embedded: Float[Tensor, "batch beams embedding"],
        state: RecurrentState,
        *,
        need_attention: bool,
    ) -> tuple[Forced, RecurrentState]:
        """See `RecurrentDecoder.advance`."""
        fed = state.hidden[0]
        inputs = torch.cat([embedded, fed], dim=-1) if self.input_feeding else embedded
        outputs, final = self.recurrence(inputs.flatten(0, 1).unsqueeze(1), self._pack(state))
        shape = embedded.shape[:2]
        forced = self._attend(
            outputs.squeeze(1).unflatten(0, shape),
            state.places(shape[1]),
            state,
            need_attention=need_attention,
        )
        layers = tuple(layer.unflatten(0, shape) for stack in final for layer in stack)
        hidden = (forced.features, *layers)
        return forced, RecurrentState(hidden, state.memory, state.time + 1)

    def _pack(self, state: RecurrentState) -> tuple[Tensor, Tensor]:
        """Give torch its two [layers, batch, hidden] from our tuple."""
        stacked = torch.stack([layer.flatten(0, 1) for layer in state.hidden[1:]])
        hidden, cells = stacked.chunk(2)
        return hidden.contiguous(), cells.contiguous()

    def _attend(
        self,
        outputs: Float[Tensor, "batch queries hidden"],
        places: Int[Tensor, " queries"],
        state: RecurrentState,
        *,
        need_attention: bool,
    ) -> Forced:
        """From current states to attentional vectors; positions are queries, and so are beams."""
        assert state.memory is not None
        attended = self.attention.attend(
            outputs,
            state.memory,
            need=need_of(self.attention, need_attention=need_attention),
            positions=places,
        )

        def speak(contexts: Float[Tensor, "batch queries read width"]) -> Tensor:
            states = outputs.unsqueeze(2).expand(-1, -1, contexts.shape[2], -1)
            return torch.tanh(self.combine(torch.cat([contexts, states], dim=-1)))

        combined = torch.cat([attended.context, outputs], dim=-1)
        drawn = drawn_of(attended, state.memory, speak, lasting=self.input_feeding)
        return Forced(torch.tanh(self.combine(combined)), attended.weights, drawn)
