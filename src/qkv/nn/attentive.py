"""A gated decoder that attends before each step, over a whole target, gradients written out.

    e_ij = v . tanh(W_q h_{i-1} + k_j),   alpha_i = softmax(e_i),   c_i = alpha_i values
    h_i = GRU(h_{i-1}, x_i + C c_i)

(Bahdanau, Cho and Bengio 2015, eqs. 5 and 6, as RNNsearch has them.) Forward, a step has two
products of matrices: h_{i-1} with W_q and the recurrent weights side by side, and the context.
Backward too; the gradients of all weights are one product each, over all steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from qkv.nn.gated import Gates

if TYPE_CHECKING:
    from jaxtyping import Bool, Float


class Read(NamedTuple):
    """What `attentive_gru` returns, time first."""

    states: Float[Tensor, "time batch hidden"]
    contexts: Float[Tensor, "time batch width"]
    weights: Float[Tensor, "time batch keys"]


@dataclass(frozen=True, eq=False)
class Source:
    """What is attended to: keys that the score has projected, values, and which may be met."""

    keys: Float[Tensor, "batch keys inner"]
    values: Float[Tensor, "batch keys width"]
    allowed: Bool[Tensor, "batch keys"] | None


@dataclass(frozen=True, eq=False)
class Weights:
    """Of the score, W_q and v; of the cell, C, the recurrent ones R (r, z, n), and b_n."""

    query: Float[Tensor, "inner hidden"]
    v: Float[Tensor, " inner"]
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
    beside = torch.cat([weights.query, recurrent[2 * hidden :], recurrent[: 2 * hidden]])
    return Read(
        *_Attentive.apply(
            inputs,
            initial,
            source.keys,
            source.values,
            weights.v,
            weights.context,
            beside,
            weights.offset,
            source.allowed,
        )
    )


class _Attentive(torch.autograd.Function):
    """All steps; what a step writes for the way back has a row for each."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        initial: Tensor,
        keys: Tensor,
        values: Tensor,
        *weights: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        v, to_gates, beside, offset, allowed = weights
        time, (batch, hidden), inner = len(inputs), initial.shape, keys.shape[-1]
        gates = Gates(time, initial)
        tanh = keys.new_empty(time, *keys.shape)
        alpha = keys.new_empty(time, batch, keys.shape[1])
        contexts = values.new_empty(time, batch, values.shape[-1])
        hide = None if allowed is None else torch.where(allowed, 0.0, -math.inf).to(keys.dtype)
        for t in range(time):
            product = torch.mm(gates.states[t], beside.t())
            torch.add(product[:, None, :inner], keys, out=tanh[t]).tanh_()
            energies = (tanh[t].view(-1, inner) @ v).view(alpha.shape[1:])
            torch.softmax(energies if hide is None else energies + hide, -1, out=alpha[t])
            torch.bmm(alpha[t].unsqueeze(1), values, out=contexts[t].unsqueeze(1))
            torch.add(product[:, inner : inner + hidden], offset, out=gates.hidden[t])
            row = torch.addmm(inputs[t], contexts[t], to_gates.t())
            gates.step(t, row, product[:, inner + hidden :], gates.hidden[t])
        ctx.gates, ctx.tanh = gates, tanh
        ctx.save_for_backward(keys, values, v, to_gates, beside, alpha)
        ctx.contexts = contexts
        ctx.set_materialize_grads(False)  # what no loss reads costs nothing
        return gates.states[1:], contexts, alpha

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Tensor | None, ...]:
        keys, values, v, to_gates, beside, alpha = ctx.saved_tensors
        gates: Gates = ctx.gates
        tanh = ctx.tanh
        to_states = torch.zeros_like(gates.states[1:]) if given[0] is None else given[0]
        to_contexts = torch.zeros_like(ctx.contexts) if given[1] is None else given[1]
        to_alpha = given[2]
        slopes, update = gates.slopes()
        time, batch, hidden, inner = *slopes.shape[:2], slopes.shape[-1], keys.shape[-1]
        # A row: the gradients of W_q h, of R_n h, and of x_r, x_z and x_n.
        found = slopes.new_empty(time, batch, inner + 4 * hidden)
        read = torch.empty_like(to_contexts)
        to_keys, to_v, flat = torch.zeros_like(keys), torch.zeros_like(v), torch.empty_like(keys)
        one = keys.new_ones(())
        state = to_states[-1]
        for t in range(time - 1, -1, -1):
            row = found[t]
            torch.mul(state.unsqueeze(1), slopes[t], out=row[:, inner:].unflatten(-1, (4, hidden)))
            torch.addmm(to_contexts[t], row[:, inner + hidden :], to_gates, out=read[t])
            energies = torch.bmm(values, read[t].unsqueeze(-1)).squeeze(-1)
            if to_alpha is not None:
                energies += to_alpha[t]
            energies = torch._softmax_backward_data(energies, alpha[t], -1, energies.dtype)
            to_v.addmv_(tanh[t].view(-1, inner).t(), energies.view(-1))
            torch.addcmul(one, tanh[t], tanh[t], value=-1, out=flat)
            torch.mul(torch.bmm(energies.unsqueeze(1), flat).squeeze(1), v, out=row[:, :inner])
            to_keys.addcmul_(flat, energies.unsqueeze(-1))
            before = to_states[t - 1] if t else torch.zeros_like(state)
            state = torch.addcmul(before, state, update[t])
            state.addmm_(row[:, : inner + 3 * hidden], beside)
        rows = found.view(time * batch, -1)
        to_beside = rows[:, : inner + 3 * hidden].t() @ gates.states[:-1].reshape(-1, hidden)
        to_inputs = found[..., inner + hidden :]
        return (
            to_inputs,
            state,
            to_keys.mul_(v),
            torch.bmm(alpha.permute(1, 2, 0), read.transpose(0, 1)),
            to_v,
            rows[:, inner + hidden :].t() @ ctx.contexts.view(time * batch, -1),
            to_beside,
            rows[:, inner : inner + hidden].sum(0),
            None,
        )
