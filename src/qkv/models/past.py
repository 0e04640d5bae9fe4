"""Keys and values of what has been written so far: hypotheses point at them, nothing is moved."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import torch
from jaxtyping import Float, Int
from torch import Tensor

_FIRST = 16  # positions of a new buffer; it doubles


@dataclass(eq=False)
class Buffer:
    """Places for more positions than are filled; whoever stands at the end may fill the next."""

    data: Float[Tensor, "layers rows two heads places width"]
    filled: int


@dataclass(frozen=True, eq=False)
class Past:
    """A value, although it grows in place: who finds the next place filled works on a copy.

    sizes: layers, heads, width of a head. origin: in which row of the buffer each hypothesis'
    tokens stand; None: in its own.
    """

    sizes: tuple[int, int, int]
    rows: int
    length: int = 0
    origin: Int[Tensor, "length rows"] | None = None
    buffer: Buffer | None = field(default=None, repr=False)

    def grown(self) -> tuple[Self, Buffer]:
        """Return this with a position more, which is to be written, and where."""
        layers, heads, width = self.sizes
        buffer, length = self.buffer, self.length
        fits = buffer is not None and buffer.filled == length and self.rows <= buffer.data.shape[1]
        if buffer is None or not fits or length == buffer.data.shape[4]:
            held = self.rows if buffer is None else max(self.rows, buffer.data.shape[1])
            places = max(_FIRST, 2 * length)
            data = torch.empty(layers, held, 2, heads, places, width, dtype=torch.float32)
            if buffer is not None:
                data[:, : buffer.data.shape[1], :, :, :length] = buffer.data[..., :length, :]
            buffer = Buffer(data, length)
        buffer.filled = length + 1
        origin = self.origin
        if origin is not None:
            origin = torch.cat([origin, torch.arange(self.rows).unsqueeze(0)])
        return type(self)(self.sizes, self.rows, length + 1, origin, buffer), buffer

    def select(self, rows: Int[Tensor, " kept"]) -> Self:
        """Keep these rows, in this order, repeated if they are: hypotheses that live on."""
        if self.length == 0:
            return type(self)(self.sizes, len(rows))
        origin = rows.expand(self.length, -1) if self.origin is None else self.origin[:, rows]
        return type(self)(self.sizes, len(rows), self.length, origin.contiguous(), self.buffer)
