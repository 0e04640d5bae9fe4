"""Neural Turing machine (Graves, Wayne and Danihelka 2014, section 3).

A controller reads an input and what its heads read before, and tells the heads where to go. Each
head attends to the memory M [slots, width] with one query (section 3.3, figure 2):

    w = sharpen(shift(interpolate(softmax(beta cos(k, M)), w_before)))        (eqs. 5 to 9)

Read heads bring back r = w M (eq. 2). Write heads erase, and then add (eqs. 3 and 4):

    M_t(i) = M_{t-1}(i) prod_h (1 - w_h(i) e_h) + sum_h w_h(i) a_h
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qkv.attention import attend
from qkv.attention.reweighters import Chain, Interpolate, Sharpen, Shift
from qkv.attention.scores import Cosine

if TYPE_CHECKING:
    from jaxtyping import Bool, Float


class Address(NamedTuple):
    """Where each head wants to go: the query, its key strength, and the three reweighters."""

    query: Float[Tensor, "batch heads width"]
    strength: Float[Tensor, "batch heads 1"]
    gate: Float[Tensor, "batch heads"]
    shifts: Float[Tensor, "batch heads shifts"]
    gamma: Float[Tensor, "batch heads"]


class NTMState(NamedTuple):
    """All that a machine remembers. A value: a step makes a new one.

    controller: the states of the controller: an LSTM's state and cell, or nothing.
    read: what the read heads brought back.
    weights: where each head was, the read heads first.
    """

    controller: tuple[Float[Tensor, "batch hidden"], ...]
    read: Float[Tensor, "batch read"]
    weights: Float[Tensor, "batch heads slots"]
    memory: Float[Tensor, "batch slots width"]

    def where(self, going: Bool[Tensor, " batch"], before: NTMState) -> NTMState:
        """This state in the batch items that go on, and that of `before` in the others."""
        pick = going.unsqueeze(-1)
        return NTMState(
            tuple(
                torch.where(pick, new, old)
                for new, old in zip(self.controller, before.controller, strict=True)
            ),
            torch.where(pick, self.read, before.read),
            torch.where(pick.unsqueeze(-1), self.weights, before.weights),
            torch.where(pick.unsqueeze(-1), self.memory, before.memory),
        )


def address(
    memory: Float[Tensor, "batch slots width"],
    to: Address,
    previous: Float[Tensor, "batch heads slots"],
) -> Float[Tensor, "batch heads slots"]:
    """Return the heads' weights over the slots, by attention that knows the last ones."""
    weights = attend(
        to.query,
        memory,
        score=Cosine(to.strength),
        reweighter=Chain((Interpolate(to.gate, previous), Shift(to.shifts), Sharpen(to.gamma))),
        need="weights",
    ).weights
    assert weights is not None
    return weights


def write(
    memory: Float[Tensor, "batch slots width"],
    weights: Float[Tensor, "batch heads slots"],
    erase: Float[Tensor, "batch heads width"],
    add: Float[Tensor, "batch heads width"],
) -> Float[Tensor, "batch slots width"]:
    """Erase with every head, then add with every head (section 3.2): their order is no matter."""
    added = weights.mT @ add
    for place, gone in zip(weights.unbind(1), erase.unbind(1), strict=True):
        memory = memory * (1 - place.unsqueeze(-1) * gone.unsqueeze(-2))
    return memory + added


class Heads(nn.Module):
    """From the controller's output to where the heads go and what the write heads write.

    Differs from the paper: which functions keep the numbers in their ranges, which it leaves open:
    softplus for beta and gamma - 1, sigmoid for the gate and e, softmax for the shifts, and tanh
    for a.
    """

    def __init__(
        self, controller: int, width: int, *, read_heads: int, write_heads: int, max_shift: int
    ) -> None:
        super().__init__()
        self.heads, self.write_heads = read_heads + write_heads, write_heads
        self.parts = [width, 1, 1, 2 * max_shift + 1, 1]
        self.place = nn.Linear(controller, self.heads * sum(self.parts))
        self.content = nn.Linear(controller, write_heads * 2 * width)

    def forward(
        self, output: Float[Tensor, "batch hidden"], dtype: torch.dtype
    ) -> tuple[
        Address, Float[Tensor, "batch writers width"], Float[Tensor, "batch writers width"]
    ]:
        """Return the addresses of all heads, and the e and a of those that write."""
        raw = self.place(output).to(dtype).unflatten(-1, (self.heads, -1))
        query, strength, gate, shifts, gamma = raw.split(self.parts, dim=-1)
        content = self.content(output).to(dtype).unflatten(-1, (self.write_heads, -1))
        erase, add = content.chunk(2, dim=-1)
        to = Address(
            query,
            F.softplus(strength),
            gate.sigmoid().squeeze(-1),
            shifts.softmax(-1),
            1 + F.softplus(gamma).squeeze(-1),
        )
        return to, erase.sigmoid(), add.tanh()


class LSTMController(nn.Module):
    """One layer of LSTM over [input; read]."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(inputs, hidden)
        self.hidden = hidden

    def initial(self, like: Float[Tensor, "batch any"]) -> tuple[Tensor, ...]:
        """Zeros."""
        zero = like.new_zeros(len(like), self.hidden)
        return zero, zero

    def forward(
        self, inputs: Float[Tensor, "batch inputs"], state: tuple[Tensor, ...]
    ) -> tuple[Float[Tensor, "batch hidden"], tuple[Tensor, ...]]:
        """Return the output and the next state."""
        hidden, cell = state
        hidden, cell = self.cell(inputs, (hidden, cell))
        return hidden, (hidden, cell)


class FeedForwardController(nn.Module):
    """tanh(W [input; read] + b): all memory is in the slots."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, hidden)

    def initial(self, like: Float[Tensor, "batch any"]) -> tuple[Tensor, ...]:
        """Nothing."""
        return ()

    def forward(
        self, inputs: Float[Tensor, "batch inputs"], state: tuple[Tensor, ...]
    ) -> tuple[Float[Tensor, "batch hidden"], tuple[Tensor, ...]]:
        """Return the output; there is no state."""
        return torch.tanh(self.linear(inputs)), ()


CONTROLLERS: dict[str, type[LSTMController] | type[FeedForwardController]] = {
    "lstm": LSTMController,
    "feedforward": FeedForwardController,
}


class NeuralTuringMachine(nn.Module):
    """One step: read an input, move the heads, read, write.

        h_t = controller([x_t; r_{t-1}]),   w_t from h_t, w_{t-1} and M_{t-1},   r_t = w_t M_{t-1}
        output_t = [h_t; r_t]

    Parameters: those of the controller and of the heads, the first slot, r_0 and w_0.
    Cost: slots*(2 width + shifts) multiply-adds a head and step, beside the controller.

    The memory is part of the state, which is passed on; the module holds parameters alone.

    Differs from the paper, which leaves the start open: every slot starts alike and almost empty
    (Collier and Beel 2018 found a constant best), r_0 and w_0 are learned, and w_0 starts mostly
    on the first slot: with slots alike, a head that is everywhere could never choose one. All
    heads address and read M_{t-1}, and what is written is there to be read at the next step.
    """

    empty = 1e-6
    """Every entry of the memory at the start."""
    lead = 5.0
    """How far the first slot's logit is above the others' at the start: e^5 to 1."""

    def __init__(
        self,
        inputs: int,
        hidden: int,
        *,
        slots: int,
        width: int,
        controller: str = "lstm",
        read_heads: int = 1,
        write_heads: int = 1,
        max_shift: int = 1,
    ) -> None:
        super().__init__()
        if controller not in CONTROLLERS:
            raise ValueError(
                f"unknown controller {controller!r}; allowed: {', '.join(CONTROLLERS)}"
            )
        self.slots, self.width = slots, width
        self.read_heads = read_heads
        self.outputs = hidden + read_heads * width
        self.controller = CONTROLLERS[controller](inputs + read_heads * width, hidden)
        self.heads = Heads(
            hidden, width, read_heads=read_heads, write_heads=write_heads, max_shift=max_shift
        )
        self.first_read = nn.Parameter(torch.zeros(read_heads * width))
        self.first_place = nn.Parameter(torch.zeros(self.heads.heads, slots))

    def start(self, batch: int) -> NTMState:
        """Return the state before the first input."""
        read = self.first_read.expand(batch, -1)
        onto_first = self.lead * (torch.arange(self.slots, device=read.device) == 0)
        return NTMState(
            self.controller.initial(read),
            read,
            (self.first_place + onto_first).softmax(-1).expand(batch, -1, -1),
            read.new_full((batch, self.slots, self.width), self.empty),
        )

    def forward(
        self, inputs: Float[Tensor, "batch inputs"], state: NTMState
    ) -> tuple[Float[Tensor, "batch outputs"], NTMState]:
        """Read one input; return [h; r] and the next state."""
        hidden, controller = self.controller(
            torch.cat([inputs, state.read], dim=-1), state.controller
        )
        to, erase, add = self.heads(hidden, state.memory.dtype)
        weights = address(state.memory, to, state.weights)
        readers, writers = weights.tensor_split([self.read_heads], dim=1)
        read = (readers @ state.memory).flatten(1)
        memory = write(state.memory, writers, erase, add)
        return torch.cat([hidden, read], dim=-1), NTMState(controller, read, weights, memory)
