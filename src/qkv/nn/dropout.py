"""Dropout (Srivastava et al. 2014) from sixteen random bits a number."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """Zero a share of the numbers in training, and scale up the others by what is left.

        out = x / (1 - p) with probability 1 - p, else 0,       p = round(2^16 share) / 2^16

    On a CPU torch draws a number at a time from its generator; here one draw of 64 bits serves
    four. The mean of each output is its input, exactly, for the p that is drawn.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the numbers that are left; in eval mode all of them."""
        if not self.training or not self.p or input.device.type != "cpu" or self.inplace:
            return super().forward(input)
        dropped = round(self.p * 2**16)
        if dropped == 2**16:
            return input * 0
        bits = torch.empty(-(-input.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        draws = bits.view(torch.int16)[: input.numel()].view(input.shape)
        mask = torch.ge(draws, dropped - 2**15, out=torch.empty(input.shape, dtype=input.dtype))
        return input * mask.mul_(2**16 / (2**16 - dropped))
