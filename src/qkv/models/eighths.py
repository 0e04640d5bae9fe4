"""Numbers as whole ones of 8 bits and a scale a row, and their products.

Symmetric quantisation of weights (once, by output) and of activations (as they come, by row), as
CTranslate2 and most others do it; see Jacob et al. 2018, section 2.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int8
from torch import Tensor

_LARGEST = 127


def in_eighths(
    rows: Float[Tensor, "rows width"],
) -> tuple[Int8[Tensor, "rows width"], Float[Tensor, " rows"]]:
    """Return round(127 row / max |row|), and what one unit of each row is worth.

    A row that holds what is no finite number is worth none, or not a finite one.
    """
    largest = rows.abs().amax(1)
    scale = torch.where(largest > 0, _LARGEST / largest, 0)
    whole = (rows * scale.unsqueeze(1)).round().nan_to_num(0.0).to(torch.int8)
    return whole, largest / _LARGEST


def multiply_eighths(
    rows: Float[Tensor, "rows inputs"],
    weight: Int8[Tensor, "inputs outputs"],
    scales: Float[Tensor, " outputs"],
    bias: Float[Tensor, " outputs"] | None,
) -> Float[Tensor, "rows outputs"]:
    """x W + b: the rows are rounded as the weight was, products are summed exactly."""
    whole, worth = in_eighths(rows)
    sums = torch._int_mm(whole, weight).to(rows.dtype)
    found = sums * (worth.unsqueeze(1) * scales)
    return found if bias is None else found + bias
