"""Gated recurrent units over whole sequences, with their gradients written out.

    r = sigmoid(x_r + R_r h),   z = sigmoid(x_z + R_z h),   n = tanh(x_n + r (R_n h + b_n))
    h' = (1 - z) n + z h

x = W input + biases, for all steps in one product. Backward, all that does not need the gradient
of h' is computed for all steps at once, and so is the gradient of R: what is left in the loop is
one product and two elementwise operations a step. Torch's own loop on a CPU takes some forty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

if TYPE_CHECKING:
    from jaxtyping import Float


def written_out(tensor: Tensor) -> bool:
    """Whether the loops of this project run here: on a CPU, and where nothing rewrites them."""
    return (
        tensor.device.type == "cpu"
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
        and torch.autograd.forward_ad._current_level < 0
    )


def gru(
    recurrence: nn.GRU,
    inputs: Float[Tensor, "batch time width"],
    initial: Float[Tensor, "layers batch hidden"] | None = None,
) -> Float[Tensor, "batch time hidden"]:
    """Return the top states of torch's GRU of one direction, batch first; initial None: zeros."""
    if not written_out(inputs):
        states: Tensor = recurrence(inputs, initial)[0]
        return states
    if initial is None:
        initial = inputs.new_zeros(recurrence.num_layers, len(inputs), recurrence.hidden_size)
    states = inputs.transpose(0, 1)
    for layer in range(recurrence.num_layers):
        if layer:
            states = F.dropout(states, recurrence.dropout, recurrence.training)
        names = "weight_ih", "bias_ih", "weight_hh", "bias_hh"
        weight, bias, *recurrent = (getattr(recurrence, f"{name}_l{layer}") for name in names)
        gates, offset = merged_biases(bias, recurrent[1])
        read = F.linear(states, weight, gates)
        states = _GRU.apply(read, initial[layer], recurrent[0], offset)
    return states.transpose(0, 1)


def merged_biases(input_bias: Tensor, hidden_bias: Tensor) -> tuple[Tensor, Tensor]:
    """Return what is added to x for all steps, and b_n, which the reset gate multiplies."""
    inner = hidden_bias.shape[0] // 3 * 2
    added = F.pad(hidden_bias[:inner], (0, inner // 2))
    return input_bias + added, hidden_bias[inner:]


class Gates:
    """What one run keeps of its gates, a row a step; written by `step`, read by `slopes`."""

    def __init__(self, time: int, initial: Tensor) -> None:
        shape = time, *initial.shape
        self.states = initial.new_empty(time + 1, *initial.shape)
        self.states[0] = initial
        self.both = initial.new_empty(time, initial.shape[0], 2 * initial.shape[1])
        self.new, self.hidden = initial.new_empty(shape), initial.new_empty(shape)

    def step(self, t: int, read: Tensor, reset_update: Tensor, hidden: Tensor) -> None:
        """Write the state after step t; read: x. The others: R h of r and z; R_n h + b_n."""
        width = hidden.shape[-1]
        both = torch.add(read[:, : 2 * width], reset_update, out=self.both[t]).sigmoid_()
        new = torch.addcmul(read[:, 2 * width :], both[:, :width], hidden, out=self.new[t]).tanh_()
        torch.lerp(new, self.states[t], both[:, width:], out=self.states[t + 1])

    def slopes(self) -> tuple[Tensor, Tensor]:
        """Return dh'/d(R_n h + b_n, x_r, x_z, x_n), [time, batch, 4, hidden], and z."""
        reset, update = self.both.chunk(2, -1)
        to_new = (1 - update).mul_(1 - self.new.square())
        to_reset = to_new * self.hidden * reset * (1 - reset)
        to_update = (self.states[:-1] - self.new).mul_(update).mul_(1 - update)
        return torch.stack([to_new * reset, to_reset, to_update, to_new], 2), update


class _GRU(torch.autograd.Function):
    """One layer, time first."""

    @staticmethod
    def forward(ctx: Any, read: Tensor, initial: Tensor, weight: Tensor, offset: Tensor) -> Tensor:
        gates, width = Gates(len(read), initial), initial.shape[-1]
        for t, row in enumerate(read):
            product = torch.mm(gates.states[t], weight.t())
            torch.add(product[:, 2 * width :], offset, out=gates.hidden[t])
            gates.step(t, row, product[:, : 2 * width], gates.hidden[t])
        ctx.gates = gates
        ctx.save_for_backward(weight)
        return gates.states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        gates: Gates = ctx.gates
        (weight,) = ctx.saved_tensors
        slopes, update = gates.slopes()
        time, batch, _, width = slopes.shape
        # The order of the slopes: R_n's rows come first.
        turned = torch.cat([weight[2 * width :], weight[: 2 * width]])
        found = slopes.new_empty(time, batch, 4 * width)
        state = gradient[-1]
        for t in range(time - 1, -1, -1):
            torch.mul(state.unsqueeze(1), slopes[t], out=found[t].view(batch, 4, width))
            before = gradient[t - 1] if t else torch.zeros_like(state)
            state = torch.addcmul(before, state, update[t])
            state.addmm_(found[t, :, : 3 * width], turned)
        rows = found.view(time * batch, 4 * width)
        to_turned = rows[:, : 3 * width].t() @ gates.states[:-1].reshape(time * batch, width)
        to_weight = torch.cat([to_turned[width:], to_turned[:width]])
        return found[..., width:], state, to_weight, rows[:, :width].sum(0)
