"""The recurrences of an encoder as the operators that ONNX has for them."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from qkv.models.encoders import Pass, RecurrentEncoder, read

# The order of torch's gates in that of ONNX: GRU r z n -> z r h, LSTM i f g o -> i o f c.
GATES: dict[type[nn.RNNBase], tuple[str, list[int]]] = {
    nn.RNN: ("RNN", [0]),
    nn.GRU: ("GRU", [1, 0, 2]),
    nn.LSTM: ("LSTM", [0, 3, 1, 2]),
}


class OnnxRecurrence(nn.Module):
    """One direction of one layer, [batch, source, width], that stands still at the pads.

    ONNX's operators take the lengths, so that the last state is that of the last real token.
    """

    def __init__(self, recurrence: nn.RNNBase) -> None:
        super().__init__()
        self.operator, order = GATES[type(recurrence)]
        self.hidden = recurrence.hidden_size
        read_weight, own_weight, read_bias, own_bias = (
            torch.cat([tensor.detach().chunk(len(order))[gate] for gate in order])
            for tensor in recurrence.all_weights[0]
        )
        self.register_buffer("read_weight", read_weight.unsqueeze(0))
        self.register_buffer("own_weight", own_weight.unsqueeze(0))
        self.register_buffer("bias", torch.cat([read_bias, own_bias]).unsqueeze(0))

    read_weight: Tensor
    own_weight: Tensor
    bias: Tensor

    def forward(
        self, inputs: Float[Tensor, "batch source width"], lengths: Int[Tensor, " batch"]
    ) -> Pass:
        """Record the operator: while a graph is recorded it computes nothing."""
        batch, source, _ = inputs.shape
        outputs = 3 if self.operator == "LSTM" else 2
        attributes: dict[str, Any] = {"hidden_size": self.hidden}
        if self.operator == "GRU":
            attributes["linear_before_reset"] = 1  # as torch's: after the matrix product
        states, *last = torch.onnx.ops.symbolic_multi_out(
            self.operator,
            [
                inputs.transpose(0, 1),
                self.read_weight,
                self.own_weight,
                self.bias,
                lengths.to(torch.int32),
            ],
            attributes,
            dtypes=[inputs.dtype] * outputs,
            shapes=[[source, 1, batch, self.hidden], *[[1, batch, self.hidden]] * (outputs - 1)],
        )
        return Pass(states.squeeze(1).transpose(0, 1), last[0][0], last[-1][0])


@read.register
def _(recurrence: OnnxRecurrence, inputs: Tensor, lengths: Tensor) -> Pass:
    found: Pass = recurrence(inputs, lengths)
    return found


def record_recurrences(model: nn.Module) -> None:
    """Put ONNX's operators where an encoder reads a source: the steps of a decoder need none."""
    for module in model.modules():
        if isinstance(module, RecurrentEncoder):
            for layer in module.layers:
                assert isinstance(layer, nn.ModuleList)
                for i, recurrence in enumerate(layer):
                    assert isinstance(recurrence, nn.RNNBase)
                    layer[i] = OnnxRecurrence(recurrence)
