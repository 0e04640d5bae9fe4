"""Numbers as whole ones of 8 bits and a scale a row."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int8
from torch import Tensor

_LARGEST = 127


def in_eighths(
    rows: Float[Tensor, "rows width"],
) -> tuple[Int8[Tensor, "rows width"], Float[Tensor, " rows"]]:
    """Return round(127 row / max |row|), and what one unit of each row is worth.

    A row that holds what is no finite number is worth none.
    """
    largest = rows.abs().amax(1)
    scale = torch.where(largest > 0, _LARGEST / largest, 0)
    whole = (rows * scale.unsqueeze(1)).round().nan_to_num(0.0).to(torch.int8)
    return whole, largest / _LARGEST + 0 * rows.sum(1)
