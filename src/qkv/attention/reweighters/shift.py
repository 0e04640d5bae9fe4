"""Convolutional shift (Graves, Wayne and Danihelka 2014, section 3.3.2, eq. 8).

    w_ij = sum_o s_i(o) alpha_i((j - o) mod keys),    o = -k, ..., 0, ..., k

The keys lie on a circle; s is a distribution over how far to go round it.
Parameters: none; the shifts are given.
Differs from the paper: none; its s may allow every shift, ours has the 2 k + 1 that are given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from qkv.attention.reweighters.shape import check_floating, fit

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Shift:
    """A value for one call: each query's distribution over an odd number of shifts.

    shifts: [batch, queries, 2 k + 1] or [batch, heads, queries, 2 k + 1]; the middle stays, the
    last goes k keys up. They may need a gradient. The sum of the weights is kept if the shifts
    sum to 1. Cost: keys * (2 k + 1) multiply-adds a query.
    """

    shifts: Float[Tensor, "*batch queries shifts"]

    moves_weight: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_floating("Shift", "shifts", "[batch, queries, shifts]", self.shifts, 2)
        if self.shifts.shape[-1] % 2 == 0:
            raise ValueError(
                f"Shift takes an odd number of shifts, -k to k, got {self.shifts.shape[-1]}"
            )

    def __call__(
        self, weights: Float[Tensor, "*batch queries keys"]
    ) -> Float[Tensor, "*batch queries keys"]:
        """Spread each weight over the keys around it.

        Raises:
            ValueError: the shifts are for other queries.
        """
        count, keys = self.shifts.shape[-1], weights.shape[-1]
        shifts = fit("Shift", "shifts", self.shifts, weights, count)
        reach = torch.arange(-(count // 2), count // 2 + 1, device=weights.device)
        around = (torch.arange(keys, device=weights.device).unsqueeze(-1) - reach) % keys
        return (weights[..., around] @ shifts.unsqueeze(-1)).squeeze(-1)
