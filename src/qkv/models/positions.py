"""Where a token stands: sinusoids, or a learned table."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


def sinusoids(length: int, width: int, *, start: int = 0) -> Float[Tensor, "length width"]:
    """PE(pos, 2i) = sin(pos / 10000^(2i/width)), PE(pos, 2i+1) = cos(...) (Vaswani 2017, 3.5).

    In float64: who adds them rounds them once, to the dtype they are added to.
    """
    position = torch.arange(start, start + length, dtype=torch.float64).unsqueeze(1)
    exponent = torch.arange(0, width, 2, dtype=torch.float64) / width
    angle = position / 10000.0**exponent
    table = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)
    return table[:, :width]


class Sinusoidal(nn.Module):
    """Add sinusoids; any length."""

    def forward(
        self, embedded: Float[Tensor, "batch time width"], start: int = 0
    ) -> Float[Tensor, "batch time width"]:
        """Add the positions from `start` on."""
        table = sinusoids(embedded.shape[1], embedded.shape[2], start=start)
        return embedded + table.to(embedded)


class Learned(nn.Module):
    """Add a learned vector a position (Vaswani 2017, table 3, row E)."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(size, width)
        nn.init.normal_(self.table.weight, std=width**-0.5)

    def forward(
        self, embedded: Float[Tensor, "batch time width"], start: int = 0
    ) -> Float[Tensor, "batch time width"]:
        """Add the positions from `start` on.

        Raises:
            ValueError: a position lies beyond the table.
        """
        stop = start + embedded.shape[1]
        if stop > self.table.num_embeddings:
            raise ValueError(
                f"{stop} tokens, but the model has {self.table.num_embeddings} learned positions "
                "(model.max_positions); shorten the text, or train with more, or with "
                'model.positions = "sinusoidal", which has no limit'
            )
        learned: Tensor = self.table.weight[start:stop]
        return embedded + learned


class Unplaced(nn.Module):
    """Add nothing: the attention knows the positions itself, or nobody does."""

    def forward(
        self, embedded: Float[Tensor, "batch time width"], start: int = 0
    ) -> Float[Tensor, "batch time width"]:
        """Return the embeddings as they are."""
        return embedded
