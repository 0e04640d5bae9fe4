"""What a written-out decoder reads at each step, forward and back.

    e_ij = q_i . k_j   or   v . tanh(q_i + k_j)
    alpha_i = softmax(e_i),   c_i = alpha_i values

A `Reader` keeps what one run writes, a row for each step. What only the source and the weights
need is one product over all steps, at the end.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Bool, Float


@dataclass(frozen=True, eq=False)
class Source:
    """What is attended to: keys that the score has projected, values, and which may be met.

    kind: what reads it. query: projects a decoder's state to the query; has no rows where the
    state is the query. v: of the additive energies.
    allowed: [batch, 1, keys] for all steps, or a row for each of them; None: all may be met.
    dead: queries, [batch, 1 or time, 1], whose row of `allowed` is open only so that no row is
    empty: they read nothing.
    """

    kind: type[Reader]
    keys: Float[Tensor, "batch keys inner"]
    values: Float[Tensor, "batch keys width"]
    query: Float[Tensor, "projected hidden"]
    v: Float[Tensor, " inner"] | None = None
    allowed: Bool[Tensor, ...] | None = None
    dead: Bool[Tensor, ...] | None = None


class Found(NamedTuple):
    """The gradients of a source."""

    keys: Tensor
    values: Tensor
    v: Tensor | None


class Reader(ABC):
    """One run over one source. Abstract.

    alpha, contexts: what was read, time first. to_contexts: the gradients of the contexts; who
    walks back fills in each row before it asks for that step's query.
    """

    def __init__(self, source: Source, time: int) -> None:
        self.keys, self.values = source.keys, source.values
        self.projected = len(source.query)
        batch, keys, width = source.values.shape
        self.alpha = source.keys.new_empty(time, batch, keys)
        self.contexts = source.values.new_empty(time, batch, width)
        hide = source.allowed
        if hide is not None:
            hide = torch.where(hide, 0.0, -math.inf).to(source.keys.dtype)
        self.hide, self.dead = _each(hide, time), _each(source.dead, time)

    def read(self, t: int, state: Tensor, query: Tensor) -> Tensor:
        """Return the context of step t, for a state and what the projection made of it."""
        energies = self._energies(t, state, query)
        if self.hide is not None:
            energies += self.hide[t]
        alpha = torch.softmax(energies, -1, out=self.alpha[t])
        if self.dead is not None:
            alpha.masked_fill_(self.dead[t], 0.0)
        torch.bmm(alpha.unsqueeze(1), self.values, out=self.contexts[t].unsqueeze(1))
        return self.contexts[t]

    def turn(self, to_alpha: Tensor | None) -> None:
        """Make room for the way back; to_alpha: the gradient of the weights themselves."""
        self.to_alpha = to_alpha
        self.to_contexts = torch.empty_like(self.contexts)
        self.to_energies = torch.empty_like(self.alpha)

    def back(self, t: int, to_state: Tensor, to_query: Tensor) -> None:
        """From the gradient of step t's context to that of the query.

        It is written to to_query, or, where the state is the query, added to to_state.
        """
        shares = torch.bmm(self.to_contexts[t].unsqueeze(1), self.values.mT).squeeze(1)
        if self.to_alpha is not None:
            shares += self.to_alpha[t]
        alpha, out = self.alpha[t], self.to_energies[t]
        torch._softmax_backward_data(shares, alpha, -1, alpha.dtype, grad_input=out)
        self._back(t, to_state, to_query)

    def found(self, states: Tensor) -> Found:
        """Return the gradients of the source, given the states that asked, time first."""
        values = torch.bmm(self.alpha.permute(1, 2, 0), self.to_contexts.transpose(0, 1))
        return self._found(states, values)

    @abstractmethod
    def _energies(self, t: int, state: Tensor, query: Tensor) -> Tensor:
        """Return the energies of step t, in a tensor of their own."""

    @abstractmethod
    def _back(self, t: int, to_state: Tensor, to_query: Tensor) -> None:
        """From the gradient of step t's energies to that of the query."""

    @abstractmethod
    def _found(self, states: Tensor, values: Tensor) -> Found:
        """Add the gradients of keys and v to that of the values."""


class DotReader(Reader):
    """e_ij = q_i . k_j; the state itself is the query."""

    def _energies(self, t: int, state: Tensor, query: Tensor) -> Tensor:
        return torch.bmm(state.unsqueeze(1), self.keys.mT).squeeze(1)

    def _back(self, t: int, to_state: Tensor, to_query: Tensor) -> None:
        # Not baddbmm_: into a part of a wider tensor torch adds one batch item after another.
        to_state += torch.bmm(self.to_energies[t].unsqueeze(1), self.keys).squeeze(1)

    def _found(self, states: Tensor, values: Tensor) -> Found:
        keys = torch.bmm(self.to_energies.permute(1, 2, 0), states.transpose(0, 1))
        return Found(keys, values, None)


class AdditiveReader(Reader):
    """e_ij = v . tanh(q_i + k_j); a tanh for each pair and dimension is kept for the way back."""

    def __init__(self, source: Source, time: int) -> None:
        super().__init__(source, time)
        assert source.v is not None
        self.v = source.v
        self.tanh = self.keys.new_empty(time, *self.keys.shape)

    def turn(self, to_alpha: Tensor | None) -> None:
        """See `Reader.turn`."""
        super().turn(to_alpha)
        self.to_keys, self.to_v = torch.zeros_like(self.keys), torch.zeros_like(self.v)
        self.slope, self.one = torch.empty_like(self.keys), self.keys.new_ones(())

    def _energies(self, t: int, state: Tensor, query: Tensor) -> Tensor:
        tanh = torch.add(query.unsqueeze(1), self.keys, out=self.tanh[t]).tanh_()
        return (tanh.flatten(0, 1) @ self.v).view(tanh.shape[:-1])

    def _back(self, t: int, to_state: Tensor, to_query: Tensor) -> None:
        tanh, energies = self.tanh[t], self.to_energies[t]
        self.to_v.addmv_(tanh.flatten(0, 1).t(), energies.flatten())
        torch.addcmul(self.one, tanh, tanh, value=-1, out=self.slope)
        torch.mul(torch.bmm(energies.unsqueeze(1), self.slope).squeeze(1), self.v, out=to_query)
        self.to_keys.addcmul_(self.slope, energies.unsqueeze(-1))

    def _found(self, states: Tensor, values: Tensor) -> Found:
        return Found(self.to_keys.mul_(self.v), values, self.to_v)


def _each(rows: Tensor | None, time: int) -> Tensor | None:
    """Put time first, and a row that all steps share in each of them, without a copy."""
    return None if rows is None else rows.transpose(0, 1).expand(time, -1, -1)
