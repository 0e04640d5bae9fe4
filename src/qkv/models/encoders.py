"""Recurrent encoders: from source tokens to annotations."""

from __future__ import annotations

from functools import singledispatch
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from qkv.nn.dropout import Dropout
from qkv.nn.gated import gru
from qkv.text.vocabulary import PAD

CELLS: dict[str, type[nn.RNN] | type[nn.GRU] | type[nn.LSTM]] = {
    "rnn": nn.RNN,
    "gru": nn.GRU,
    "lstm": nn.LSTM,
}


class Annotations(NamedTuple):
    """What an encoder says of a source.

    states: one vector a source token, [batch, source, width]; zero at the pads.
    final: each layer's last states, both directions side by side, [layers, batch, width].
    cells: the same of an LSTM's cells; for other cells, the states again.
    first_backward: the last layer's backward state at the first token (or, of an encoder that
        reads one way, its state at the last), [batch, hidden]; Bahdanau's start of the decoder.
    """

    states: Float[Tensor, "batch source width"]
    final: Float[Tensor, "layers batch width"]
    cells: Float[Tensor, "layers batch width"]
    first_backward: Float[Tensor, "batch hidden"]


class RecurrentEncoder(nn.Module):
    """h_j = f(x_j, h_{j-1}), in one direction or in both (Bahdanau et al. 2015, section 3.2).

    Pads are never read before a real token: the backward direction reads each source reversed
    within its own length, and the last state of a direction is that at its last real token.

    Differs from the paper: the reset gate of torch's GRU is applied after the matrix product.
    """

    def __init__(
        self,
        vocabulary: int,
        embedding: int,
        hidden: int,
        *,
        cell: str = "gru",
        layers: int = 1,
        bidirectional: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding, padding_idx=PAD)
        self.dropout = Dropout(dropout)
        self.layers = build_layers(cell, embedding, hidden, layers, bidirectional=bidirectional)
        self.width = hidden * (2 if bidirectional else 1)

    def forward(
        self, source: Int[Tensor, "batch source"], lengths: Int[Tensor, " batch"]
    ) -> Annotations:
        """Return the annotations of a batch; lengths count the real tokens of each source."""
        return read_layers(self.layers, self.embedding(source), lengths, self.dropout)


def build_layers(
    cell: str, inputs: int, hidden: int, layers: int, *, bidirectional: bool
) -> nn.ModuleList:
    """Build layers of recurrences over vectors of width `inputs`: of each one, or two."""
    directions = 2 if bidirectional else 1
    widths = [inputs] + [hidden * directions] * (layers - 1)
    return nn.ModuleList(
        nn.ModuleList(CELLS[cell](width, hidden, batch_first=True) for _ in range(directions))
        for width in widths
    )


def read_layers(
    layers: nn.ModuleList,
    states: Float[Tensor, "batch source inputs"],
    lengths: Int[Tensor, " batch"],
    dropout: Dropout,
) -> Annotations:
    """Run the layers of `build_layers`, with dropout before each and on the last states."""
    reverse = reversal(lengths, states.shape[1])
    finals, cells = [], []
    for layer in layers:
        inputs = dropout(states)
        forward, *backward = layer.children()
        passes = [read(forward, inputs, lengths)]
        for recurrence in backward:
            turned = read(recurrence, take(inputs, reverse), lengths)
            passes.append(turned._replace(states=take(turned.states, reverse)))
        states = torch.cat([one.states for one in passes], dim=-1)
        finals.append(torch.cat([one.final for one in passes], dim=-1))
        cells.append(torch.cat([one.cell for one in passes], dim=-1))
    real = torch.arange(states.shape[1], device=states.device) < lengths.unsqueeze(1)
    return Annotations(
        states=dropout(states) * real.unsqueeze(-1),
        final=torch.stack(finals),
        cells=torch.stack(cells),
        first_backward=passes[-1].final,
    )


class Pass(NamedTuple):
    """One direction of one layer: all its states, and its last one (of an LSTM, its cell too)."""

    states: Float[Tensor, "batch source hidden"]
    final: Float[Tensor, "batch hidden"]
    cell: Float[Tensor, "batch hidden"]


@singledispatch
def read(
    recurrence: nn.Module,
    inputs: Float[Tensor, "batch source width"],
    lengths: Int[Tensor, " batch"],
) -> Pass:
    """Run one of `CELLS` over padded inputs and find each sequence's own last state."""
    states, _ = recurrence(inputs)
    return ended(states, lengths)


def ended(states: Float[Tensor, "batch source hidden"], lengths: Int[Tensor, " batch"]) -> Pass:
    """Find each sequence's own last state."""
    final = states[torch.arange(lengths.shape[0], device=lengths.device), lengths - 1]
    return Pass(states, final, final)


@read.register
def _(
    recurrence: nn.LSTM,
    inputs: Float[Tensor, "batch source width"],
    lengths: Int[Tensor, " batch"],
) -> Pass:
    # Of its cells torch returns the last one only; packing makes that the last real token's.
    packed = pack_padded_sequence(inputs, lengths.cpu(), batch_first=True, enforce_sorted=False)
    outputs, (hidden, cell) = recurrence(packed)
    states, _ = pad_packed_sequence(outputs, batch_first=True, total_length=inputs.shape[1])
    return Pass(states, hidden[0], cell[0])


@read.register
def _(
    recurrence: nn.GRU,
    inputs: Float[Tensor, "batch source width"],
    lengths: Int[Tensor, " batch"],
) -> Pass:
    return ended(gru(recurrence, inputs), lengths)


def reversal(lengths: Int[Tensor, " batch"], width: int) -> Int[Tensor, "batch source"]:
    """Return the positions that turn each sequence around within its length; pads stay."""
    position = torch.arange(width, device=lengths.device)
    return torch.where(
        position < lengths.unsqueeze(1), lengths.unsqueeze(1) - 1 - position, position
    )


def take(
    inputs: Float[Tensor, "batch source width"], positions: Int[Tensor, "batch source"]
) -> Float[Tensor, "batch source width"]:
    """Return inputs[b, positions[b, j]] at j."""
    rows = torch.arange(inputs.shape[0], device=inputs.device).unsqueeze(1)
    return inputs[rows, positions]
