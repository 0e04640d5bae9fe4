"""RNN encoder-decoder without attention (Cho et al. 2014; RNNenc of Bahdanau et al. 2015)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from qkv.config import RNNencConfig
from qkv.models.encoders import CELLS, RecurrentEncoder
from qkv.models.model import Forced
from qkv.models.output import LinearOutput
from qkv.models.parts import build_embedding
from qkv.models.recurrent import RecurrentDecoder, RecurrentState
from qkv.nn.dropout import Dropout
from qkv.nn.gated import gru


class RNNenc(RecurrentDecoder):
    """The whole source is one vector c: the encoder's last state.

        s_0 = tanh(W c),   s_i = f(s_{i-1}, [E y_{i-1}; c])
        p(y_i) = softmax(W_o [s_i; E y_{i-1}; c] + b)

    Stacked, each layer of the decoder starts from that of the encoder, and c is the top one.

    Differs from the paper: c is the last state itself (Bahdanau et al. 2015, section 2.1; Cho has
    tanh(V h)); a linear output (Cho: maxout); any cell, depth and direction (Cho: one layer of
    gated units, one way, with the reset gate before the matrix product).
    """

    attends = False

    def __init__(self, config: RNNencConfig, source_size: int, target_size: int) -> None:
        super().__init__()
        self.encoder = RecurrentEncoder(
            source_size,
            config.embedding,
            config.hidden,
            cell=config.cell,
            layers=config.layers,
            bidirectional=config.bidirectional,
            dropout=config.dropout,
        )
        width = self.encoder.width
        self.target_embedding = build_embedding(
            target_size, config.embedding, tied=config.tie_embeddings
        )
        self.dropout = Dropout(config.dropout)
        self.initial = nn.Linear(width, config.hidden)
        self.recurrence = CELLS[config.cell](
            config.embedding + width,
            config.hidden,
            num_layers=config.layers,
            batch_first=True,
            dropout=config.dropout if config.layers > 1 else 0.0,
        )
        self.output = LinearOutput(
            config.hidden + config.embedding + width,
            target_size,
            dropout=config.dropout,
            tied=self.target_embedding if config.tie_embeddings else None,
        )

    def start(
        self, source: Int[Tensor, "batch source"], lengths: Int[Tensor, " batch"]
    ) -> RecurrentState:
        """Encode; the state is the context, the hidden layers, and (LSTM) their cells."""
        final = self.encoder(source, lengths).final
        hidden = torch.tanh(self.initial(final)).unsqueeze(2).unbind(0)
        cells = (
            tuple(map(torch.zeros_like, hidden)) if isinstance(self.recurrence, nn.LSTM) else ()
        )
        return RecurrentState((final[-1].unsqueeze(1), *hidden, *cells), memory=None)

    def force(
        self,
        source: Int[Tensor, "batch source"],
        lengths: Int[Tensor, " batch"],
        target: Int[Tensor, "batch time"],
        *,
        need_attention: bool = False,
    ) -> Forced:
        """All steps in one call of the recurrence: nothing comes between them here."""
        state = self.start(source, lengths)
        context, *layers = state.hidden
        embedded = self.dropout(self.target_embedding(target))
        inputs = torch.cat([embedded, context.expand(-1, target.shape[1], -1)], dim=-1)
        initial = self._pack(layers)
        if isinstance(self.recurrence, nn.GRU) and isinstance(initial, Tensor):
            outputs = gru(self.recurrence, inputs, initial)
        else:
            outputs, _ = self.recurrence(inputs, initial)
        return Forced(torch.cat([outputs, inputs], dim=-1), None)

    def advance(
        self,
        embedded: Float[Tensor, "batch beams embedding"],
        state: RecurrentState,
        *,
        need_attention: bool,
    ) -> tuple[Forced, RecurrentState]:
        """See `RecurrentDecoder.advance`."""
        context, *layers = state.hidden
        inputs = torch.cat([embedded, context], dim=-1)
        outputs, final = self.recurrence(inputs.flatten(0, 1).unsqueeze(1), self._pack(layers))
        shape = inputs.shape[:2]
        features = torch.cat([outputs.squeeze(1).unflatten(0, shape), inputs], dim=-1)
        stacks = final if isinstance(final, tuple) else (final,)
        hidden = tuple(layer.unflatten(0, shape) for stack in stacks for layer in stack)
        return Forced(features, None), RecurrentState((context, *hidden), memory=None)

    def _pack(self, layers: list[Tensor]) -> Tensor | tuple[Tensor, Tensor]:
        """Give torch its [layers, batch, hidden] (and, for an LSTM, the cells) from our tuple."""
        stacked = torch.stack([layer.flatten(0, 1) for layer in layers])
        if isinstance(self.recurrence, nn.LSTM):
            hidden, cells = stacked.chunk(2)
            return hidden.contiguous(), cells.contiguous()
        return stacked
