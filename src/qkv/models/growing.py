"""Keys and values of what has been written so far, which grow without being copied."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import torch
from jaxtyping import Float, Int
from torch import Tensor

_FIRST = 16  # positions of a new buffer; it doubles


@dataclass(eq=False)
class _Buffer:
    """Places for more positions than are filled; whoever stands at the end may fill the next."""

    data: Float[Tensor, "places layers rows two heads width"]
    filled: int


@dataclass(frozen=True, eq=False)
class Growing:
    """Keys and values of each layer, a row a hypothesis: a value, although it grows in place.

    Two that continue the same past share its buffer. The first to grow takes the place behind it;
    for the other one the past is copied, as it is where the buffer is full.

    shape: layers, rows, 2 (key and value), heads, width of a head. length: positions remembered.
    """

    shape: tuple[int, ...]
    length: int = 0
    buffer: _Buffer | None = field(default=None, repr=False)

    def grown(self, like: Tensor) -> tuple[Self, Float[Tensor, "length layers rows two heads w"]]:
        """Return this with one position more, and all that is remembered, the new place last.

        What the new place holds is for the caller to write. like: gives type and device.
        """
        buffer = self.buffer
        if buffer is None:
            buffer = _Buffer(like.new_empty(_FIRST, *self.shape), 0)
        elif buffer.filled != self.length or buffer.filled == len(buffer.data):
            data = buffer.data.new_empty(max(_FIRST, 2 * self.length), *self.shape)
            data[: self.length] = buffer.data[: self.length]
            buffer = _Buffer(data, self.length)
        buffer.filled = self.length + 1
        after = type(self)(self.shape, buffer.filled, buffer)
        return after, buffer.data[: buffer.filled]

    def select(self, rows: Int[Tensor, " kept"]) -> Self:
        """Keep these rows, in this order, repeated if they are: hypotheses that live on."""
        layers, _, *rest = self.shape
        shape = (layers, len(rows), *rest)
        if self.buffer is None:
            return type(self)(shape)
        data = self.buffer.data.new_empty(len(self.buffer.data), *shape)
        kept = data[: self.length]
        torch.index_select(self.buffer.data[: self.length], 2, rows, out=kept)
        return type(self)(shape, self.length, _Buffer(data, self.length))
