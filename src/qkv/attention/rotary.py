"""Rotary positions (Su et al. 2021, "RoFormer", eq. 14-16; computed as in section 3.4.2, eq. 34).

    (x_2i, x_2i+1) -> (x_2i cos(m t_i) - x_2i+1 sin(m t_i), x_2i sin(m t_i) + x_2i+1 cos(m t_i))
    t_i = base^(-2i / dim),   i = 0 ... dim/2 - 1

A query at m and a key at n, each rotated by its own position, have a dot product that knows only
m - n. Applied to queries and keys, before the score; never to values.
Parameters: none.
Cost: 3*dim multiply-adds a query and a key; nothing a pair.
Differs from the paper: not at all. Pairs are neighbours (x_0, x_1), (x_2, x_3), ..., as there;
Llama's code pairs x_i with x_{i + dim/2}, which is the same after a permutation of dimensions.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from qkv.attention.scores.score import at_least_float32


class Rotary(nn.Module):
    """Rotate each pair of dimensions by an angle that grows with the position.

        rotary = Rotary(dim)
        out = attend(rotary(query), rotary(key), value)     # or rotary(query, start) with a cache

    No parameters. float16 and bfloat16 are rotated in float32.

    Raises:
        ValueError: an odd dim, which does not come in pairs, or a base that is not above 0.
    """

    def __init__(self, dim: int, base: float = 10000.0) -> None:
        super().__init__()
        if dim < 2 or dim % 2:
            raise ValueError(
                f"rotary positions turn pairs of dimensions, so dim is even, got {dim}: choose "
                f"{max(2, dim + 1)}, or rotate an even part of each vector and leave the rest"
            )
        if not base > 0:
            raise ValueError(f"the base of rotary positions is above 0, got {base}")
        self.dim, self.base = dim, base

    def forward(
        self,
        x: Float[Tensor, "*batch time dim"],
        positions: Int[Tensor, " time"] | int = 0,
    ) -> Float[Tensor, "*batch time dim"]:
        """Rotate row i by positions[i]; a number is the position of the first row.

        Raises:
            ValueError: x is of another width, or positions is not one integer a row.
        """
        if x.dim() < 2 or x.shape[-1] != self.dim:
            raise ValueError(
                f"Rotary({self.dim}) rotates [..., time, {self.dim}], got {[*x.shape]}"
            )
        if not isinstance(positions, Tensor):
            positions = torch.arange(positions, positions + x.shape[-2], device=x.device)
        if positions.shape != x.shape[-2:-1] or positions.is_floating_point():
            raise ValueError(
                f"positions are one integer for each of {x.shape[-2]} rows, or the first one's, "
                f"got {positions.dtype} {list(positions.shape)}"
            )
        # In float64: in float32 the angle of position 10^4 would be off by 10^-3.
        exponent = torch.arange(0, self.dim, 2, dtype=torch.float64, device=x.device) / self.dim
        angle = positions.to(x.device).double().unsqueeze(-1) * self.base**-exponent
        first, second = at_least_float32(x).unflatten(-1, (-1, 2)).unbind(-1)
        cos, sin = angle.cos().to(first), angle.sin().to(first)
        turned = torch.stack([first * cos - second * sin, first * sin + second * cos], -1)
        return turned.flatten(-2).to(x.dtype)
