"""Long short-term memory over whole sequences, with its gradients written out.

    i, f, o = sigmoid(x + R h),   g = tanh(x + R h)                (each its own rows of x and R)
    c' = f c + i g,   h' = o tanh(c')

(Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000; torch's order of gates,
i f g o.) Of torch's cells only the last can be had; here all are, so that a batch of sequences of
several lengths needs no packing, whose loop takes every step for what is left of the batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

if TYPE_CHECKING:
    from jaxtyping import Float


def lstm(
    recurrence: nn.LSTM, inputs: Float[Tensor, "batch time width"], layer: int = 0
) -> tuple[Float[Tensor, "batch time hidden"], Float[Tensor, "batch time hidden"]]:
    """Return all states and all cells of a layer of torch's LSTM, from zeros on."""
    weights = layer_of(recurrence, layer)
    read = F.linear(inputs.transpose(0, 1), weights.read, weights.bias)
    start = inputs.new_zeros(len(inputs), recurrence.hidden_size)
    states, cells = _LSTM.apply(read, start, start, weights.recurrent)
    return states.transpose(0, 1), cells.transpose(0, 1)


class Weights(NamedTuple):
    """Of one layer: W, R, and the sum of both biases."""

    read: Float[Tensor, "gates width"]
    recurrent: Float[Tensor, "gates hidden"]
    bias: Float[Tensor, " gates"]


def layer_of(recurrence: nn.LSTM, layer: int) -> Weights:
    """Return the weights of a layer of torch's LSTM."""
    names = "weight_ih", "weight_hh", "bias_ih", "bias_hh"
    read, recurrent, *biases = (getattr(recurrence, f"{name}_l{layer}") for name in names)
    return Weights(read, recurrent, biases[0] + biases[1])


class Cells:
    """One run of one layer: a row for each step; written by `step`, read on the way back.

    read: [x; h], side by side, for what the layer reads besides x + R h: `below` of width 0 where
    all of x is known. Row t + 1 holds the state after step t.
    """

    def __init__(self, time: int, hidden: Tensor, cell: Tensor, below: int = 0) -> None:
        batch, width = hidden.shape
        self.width, self.below = width, below
        self.read = hidden.new_empty(time + 1, batch, below + width)
        self.states = self.read[..., below:]
        self.cells = hidden.new_empty(time + 1, batch, width)
        self.states[0], self.cells[0] = hidden, cell
        self.gates = hidden.new_empty(time, batch, 4 * width)
        self.bent = hidden.new_empty(time, batch, width)

    def step(self, t: int, known: Tensor, weight: Tensor) -> Tensor:
        """Return the state after step t; known: what is added to weight [x; h]."""
        width, gates = self.width, self.gates[t]
        torch.addmm(known, self.read[t], weight.t(), out=gates)
        into, keep, new, out = gates.chunk(4, -1)
        gates[:, : 2 * width].sigmoid_()
        new.tanh_()
        out.sigmoid_()
        cell = torch.mul(keep, self.cells[t], out=self.cells[t + 1]).addcmul_(into, new)
        return torch.mul(out, torch.tanh(cell, out=self.bent[t]), out=self.states[t + 1])


class Slopes:
    """The way back through one run, from its last step: what needs no gradient is found at once.

    found: the gradients of the four gates' sums, a row for each step. cell: that of the cell
    before the step that was done last.
    """

    def __init__(self, run: Cells, weight: Tensor) -> None:
        into, keep, new, out = run.gates.chunk(4, -1)
        self.run, self.weight, self.keep = run, weight, keep
        self.through = torch.addcmul(out, out * run.bent, run.bent, value=-1)
        self.slopes = torch.stack(
            [
                (into - into.square()).mul_(new),
                (keep - keep.square()).mul_(run.cells[:-1]),
                torch.addcmul(into, into * new, new, value=-1),
                (out - out.square()).mul_(run.bent),
            ],
            2,
        )
        self.found = torch.empty_like(run.gates)
        self.cell = torch.zeros_like(run.cells[0])

    def step(self, t: int, to_state: Tensor, to_cell: Tensor | None = None) -> Tensor:
        """From the gradients of step t's state (and cell) to that of the [x; h] it read."""
        total = torch.addcmul(self.cell, to_state, self.through[t])
        if to_cell is not None:
            total += to_cell
        row, slopes = self.found[t].unflatten(-1, (4, -1)), self.slopes[t]
        torch.mul(total.unsqueeze(1), slopes[:, :3], out=row[:, :3])
        torch.mul(to_state, slopes[:, 3], out=row[:, 3])
        self.cell = total.mul_(self.keep[t])
        return torch.mm(self.found[t], self.weight)

    def weights(self) -> Tensor:
        """Return the gradient of what multiplied [x; h]: one product over all steps."""
        return self.found.flatten(0, 1).t() @ self.run.read[:-1].flatten(0, 1)


class _LSTM(torch.autograd.Function):
    """One layer, time first."""

    @staticmethod
    def forward(
        ctx: Any, read: Tensor, hidden: Tensor, cell: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        run = Cells(len(read), hidden, cell)
        for t, row in enumerate(read):
            run.step(t, row, weight)
        ctx.run = run
        ctx.save_for_backward(weight)
        return run.states[1:], run.cells[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_states: Tensor, to_cells: Tensor) -> tuple[Tensor, ...]:
        (weight,) = ctx.saved_tensors
        slopes = Slopes(ctx.run, weight)
        state = to_states[-1]
        for t in range(len(to_states) - 1, -1, -1):
            before = slopes.step(t, state, to_cells[t])
            state = before.add_(to_states[t - 1]) if t else before
        return slopes.found, state, slopes.cell, slopes.weights()
