"""A gated decoder that attends before each step, over a whole target, gradients written out.

    alpha_i = softmax(e(h_{i-1}, keys)),   c_i = alpha_i values,   h_i = GRU(h_{i-1}, x_i + C c_i)

(Bahdanau, Cho and Bengio 2015, eqs. 5 and 6, as RNNsearch has them.) Forward, a step has two
products of matrices: h_{i-1} with W_q and the recurrent weights side by side, and the context.
Backward too; the gradients of all weights are one product each, over all steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from qkv.nn.gated import Gates

if TYPE_CHECKING:
    from jaxtyping import Float

    from qkv.nn.reading import Reader, Source


class Read(NamedTuple):
    """What `attentive_gru` returns, time first."""

    states: Float[Tensor, "time batch hidden"]
    contexts: Float[Tensor, "time batch width"]
    weights: Float[Tensor, "time batch keys"]


@dataclass(frozen=True, eq=False)
class Weights:
    """Of the cell: C, the recurrent ones R (r, z, n), and b_n."""

    context: Float[Tensor, "gates width"]
    recurrent: Float[Tensor, "gates hidden"]
    offset: Float[Tensor, " hidden"]


def attentive_gru(
    inputs: Float[Tensor, "time batch gates"],
    initial: Float[Tensor, "batch hidden"],
    source: Source,
    weights: Weights,
) -> Read:
    """Run all steps; inputs: W x with the biases of the gates, but for b_n."""
    hidden = initial.shape[-1]
    recurrent = weights.recurrent
    # Side by side, with R_n first: the order in which Gates has the slopes.
    beside = torch.cat([source.query, recurrent[2 * hidden :], recurrent[: 2 * hidden]])
    return Read(
        *_Attentive.apply(
            source.kind(source, len(inputs)),
            inputs,
            initial,
            source.keys,
            source.values,
            source.v,
            weights.context,
            beside,
            weights.offset,
        )
    )


class _Attentive(torch.autograd.Function):
    """All steps; what a step writes for the way back has a row for each."""

    @staticmethod
    def forward(
        ctx: Any, reader: Reader, inputs: Tensor, initial: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        *_, to_gates, beside, offset = tensors
        hidden, inner = initial.shape[-1], reader.projected
        gates = Gates(len(inputs), initial)
        for t, known in enumerate(inputs):
            product = torch.mm(gates.states[t], beside.t())
            context = reader.read(t, gates.states[t], product[:, :inner])
            torch.add(product[:, inner : inner + hidden], offset, out=gates.hidden[t])
            row = torch.addmm(known, context, to_gates.t())
            gates.step(t, row, product[:, inner + hidden :], gates.hidden[t])
        ctx.gates, ctx.reader = gates, reader
        ctx.save_for_backward(to_gates, beside)
        ctx.set_materialize_grads(False)  # what no loss reads costs nothing
        # Not what the reader holds: with a graph these would keep their run for ever.
        return gates.states[1:], reader.contexts[:], reader.alpha[:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Tensor | None, ...]:
        to_gates, beside = ctx.saved_tensors
        gates: Gates = ctx.gates
        reader: Reader = ctx.reader
        to_states = torch.zeros_like(gates.states[1:]) if given[0] is None else given[0]
        to_contexts = torch.zeros_like(reader.contexts) if given[1] is None else given[1]
        slopes, update = gates.slopes()
        time, batch, hidden, inner = *slopes.shape[:2], slopes.shape[-1], reader.projected
        # A row: the gradients of W_q h, of R_n h, and of x_r, x_z and x_n.
        found = slopes.new_empty(time, batch, inner + 4 * hidden)
        reader.turn(given[2])
        state = to_states[-1]
        for t in range(time - 1, -1, -1):
            row = found[t]
            torch.mul(state.unsqueeze(1), slopes[t], out=row[:, inner:].unflatten(-1, (4, hidden)))
            to_context = reader.to_contexts[t]
            torch.addmm(to_contexts[t], row[:, inner + hidden :], to_gates, out=to_context)
            before = to_states[t - 1] if t else torch.zeros_like(state)
            state = torch.addcmul(before, state, update[t])
            reader.back(t, state, row[:, :inner])
            state.addmm_(row[:, : inner + 3 * hidden], beside)
        rows = found.view(time * batch, -1)
        asked = gates.states[:-1]
        to_source = reader.found(asked)
        return (
            None,
            found[..., inner + hidden :],
            state,
            *to_source,
            rows[:, inner + hidden :].t() @ reader.contexts.flatten(0, 1),
            rows[:, : inner + 3 * hidden].t() @ asked.reshape(-1, hidden),
            rows[:, inner : inner + hidden].sum(0),
        )
