"""A stacked LSTM that attends after each step and reads what it said, gradients written out.

    h_t = LSTM(h_{t-1}, x_t + F h~_{t-1}),   a_t = softmax(e(h_t, keys)),   c_t = a_t values
    h~_t = tanh(W_c c_t + W_h h_t)

(Luong, Pham and Manning 2015, eqs. 5, 7 and 8, with the input feeding of section 3.3.) A step has
a product of matrices for each layer, one for the top state with W_q and W_h side by side, and one
for the context; backward too. The gradients of all weights are one product each, over all steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from qkv.nn.lstm import Cells, Slopes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float

    from qkv.nn.reading import Reader, Source


class Said(NamedTuple):
    """What `fed_lstm` returns, time first."""

    attentional: Float[Tensor, "time batch hidden"]
    weights: Float[Tensor, "time batch keys"]


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer of the stack: what it starts from, [F R] or [W R], and W's bias.

    The lowest has none: its inputs bring it.
    """

    hidden: Float[Tensor, "batch hidden"]
    cell: Float[Tensor, "batch hidden"]
    weight: Float[Tensor, "gates below_and_hidden"]
    bias: Float[Tensor, " gates"] | None


@dataclass(frozen=True, eq=False)
class Combine:
    """W_c and W_h."""

    context: Float[Tensor, "hidden width"]
    state: Float[Tensor, "hidden hidden"]


def fed_lstm(
    inputs: Float[Tensor, "time batch gates"],
    layers: Sequence[Layer],
    source: Source,
    combine: Combine,
    kept: Float[Tensor, "between time batch hidden"] | None = None,
) -> Said:
    """Run all steps.

    inputs: W x of the lowest layer, with its biases. kept: what each layer's states are multiplied
    by on their way to the next, where there is dropout.
    """
    time, width = len(inputs), combine.state.shape[0]
    stack = Stack([Cells(time, layer.hidden, layer.cell, below=width) for layer in layers], kept)
    return Said(
        *_Fed.apply(
            (stack, source.kind(source, time)),
            inputs,
            source.keys,
            source.values,
            source.v,
            combine.context,
            torch.cat([source.query, combine.state]),
            *(
                tensor
                for layer in layers
                for tensor in (layer.hidden, layer.cell, layer.weight, layer.bias)
            ),
        )
    )


class Stack:
    """One run of all layers."""

    def __init__(self, runs: list[Cells], kept: Tensor | None) -> None:
        self.runs, self.kept = runs, kept
        self.fed = runs[0].read[..., : runs[0].below]
        self.fed[0] = 0
        self.top = runs[-1].states[1:]

    def step(
        self, t: int, known: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]
    ) -> Tensor:
        """Return the top state after step t."""
        state = self.runs[0].step(t, known, weights[0])
        for k, run in enumerate(self.runs[1:]):
            below = run.read[t, :, : run.below]
            if self.kept is None:
                below.copy_(state)
            else:
                torch.mul(state, self.kept[k, t], out=below)
            state = run.step(t, biases[k + 1], weights[k + 1])
        return state


class _Fed(torch.autograd.Function):
    """All steps; what a step writes for the way back has a row for each."""

    @staticmethod
    def forward(
        ctx: Any, run: tuple[Stack, Reader], inputs: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, Tensor]:
        stack, reader = run
        to_context, beside = tensors[3:5]
        weights, biases = tensors[7::4], tensors[8::4]
        inner = reader.projected
        for t, known in enumerate(inputs):
            state = stack.step(t, known, weights, biases)
            product = torch.mm(state, beside.t())
            context = reader.read(t, state, product[:, :inner])
            said = torch.addmm(product[:, inner:], context, to_context.t())
            torch.tanh(said, out=stack.fed[t + 1])
        ctx.run = run
        ctx.save_for_backward(to_context, beside, *weights)
        ctx.set_materialize_grads(False)  # what no loss reads costs nothing
        # Not what the reader holds: with a graph it would keep its run for ever.
        return stack.fed[1:], reader.alpha[:]

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, to_said: Tensor | None, to_alpha: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        stack, reader = ctx.run
        to_context, beside, *weights = ctx.saved_tensors
        back = _Back(stack, weights)
        fed, inner = stack.fed[1:], reader.projected
        slope = torch.addcmul(fed.new_ones(()), fed, fed, value=-1)
        # A row: the gradients of W_q h and of the sum in h~'s tanh.
        found = fed.new_empty(*fed.shape[:2], inner + fed.shape[-1])
        reader.turn(to_alpha)
        to_said = torch.zeros_like(fed) if to_said is None else to_said
        for t in range(len(fed) - 1, -1, -1):
            row = found[t]
            torch.mul(back.fed.add_(to_said[t]), slope[t], out=row[:, inner:])
            torch.mm(row[:, inner:], to_context, out=reader.to_contexts[t])
            reader.back(t, back.top, row[:, :inner])
            back.top.addmm_(row, beside)
            back.step(t)
        rows, top = found.flatten(0, 1), stack.top
        return (
            None,
            back.slopes[0].found,
            *reader.found(top),
            rows[:, inner:].t() @ reader.contexts.flatten(0, 1),
            rows.t() @ top.reshape(len(rows), -1),
            *back.layers(),
        )


class _Back:
    """The way back through a stack.

    states: the gradients that the step after has found for the states of this one, layer by layer;
    fed: and for h~. What else a state or h~ led to is added in place.
    """

    def __init__(self, stack: Stack, weights: Sequence[Tensor]) -> None:
        self.kept = stack.kept
        self.slopes = [Slopes(*pair) for pair in zip(stack.runs, weights, strict=True)]
        self.states = [torch.zeros_like(run.states[0]) for run in stack.runs]
        self.fed = torch.zeros_like(stack.fed[0])

    @property
    def top(self) -> Tensor:
        """The gradient of the top state."""
        return self.states[-1]

    def step(self, t: int) -> None:
        """Undo step t."""
        for k in range(len(self.slopes) - 1, -1, -1):
            slopes = self.slopes[k]
            below, self.states[k] = slopes.step(t, self.states[k]).split(
                [slopes.run.below, slopes.run.width], -1
            )
            if k == 0:
                self.fed = below
            elif self.kept is None:
                self.states[k - 1] += below
            else:
                self.states[k - 1].addcmul_(below, self.kept[k - 1, t])

    def layers(self) -> list[Tensor | None]:
        """Return the gradients of each layer's start, weights and bias."""
        found: list[Tensor | None] = []
        for k, slopes in enumerate(self.slopes):
            bias = slopes.found.sum((0, 1)) if k else None
            found += [self.states[k], slopes.cell, slopes.weights(), bias]
        return found
