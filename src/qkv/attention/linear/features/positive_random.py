"""Positive random features (Choromanski et al. 2021, "Performers", lemma 1 and eq. 5-7; FAVOR+).

    phi(x)_r = exp(w_r . x' - |x'|^2 / 2) / sqrt(m),   x' = x / d^(1/4),   w_r ~ N(0, I)

E[phi(q) . phi(k)] = exp(q . k / sqrt(d)): attention with these features estimates softmax
attention with the scaled dot product, the better the more features there are. The w of each
block of d are orthogonal (section 2.4), each still distributed as N(0, I), so that the estimate
stays unbiased and varies less.
Parameters: none; w is drawn.
Cost: (T + S)*m*(dim + value_dim) multiply-adds, m features; no [T, S] matrix.
Differs from the paper: nothing is added to the features (the authors' code adds 1e-4 to each,
after dividing by the largest of all keys); here each row has its own scale, which cancels.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

import torch

from qkv.attention.linear.features.feature_map import FeatureMap, Mapped

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Generator, Tensor


class PositiveRandom(FeatureMap):
    """`count` random features; the default grows as dim log(dim), as in the paper's theorem 4.

    Nothing is learned. projection [count, dim] is a buffer, saved with the weights, drawn from
    torch's generator.
    """

    projection: Tensor

    def __init__(self, dim: int, count: int | None = None) -> None:
        super().__init__()
        count = max(dim, int(dim * math.log(max(dim, 1)))) if count is None else count
        if dim < 1 or count < 1:
            raise ValueError(
                f"PositiveRandom wants a dim and a count of 1 or more, got dim={dim}, "
                f"count={count}"
            )
        self.dim, self.count = dim, count
        self.register_buffer("projection", _orthogonal(count, dim, None).float())

    @classmethod
    def sized(cls, dim: int) -> Self:
        """Build one for rows of this width, with the default count."""
        return cls(dim)

    def width(self, dim: int) -> int:
        """As many as were drawn."""
        return self.count

    def redraw(self, generator: Generator | None = None) -> None:
        """Draw new features, from torch's generator unless another is given.

        A `LinearState` and prepared keys hold sums of the old ones: start them anew. What was made
        before is refused from here on.
        """
        assert self.dim is not None
        with torch.no_grad():
            self.projection.copy_(_orthogonal(self.count, self.dim, generator))
        self.draw += 1

    def forward(self, x: Float[Tensor, "*batch time dim"]) -> Mapped:
        """Return the features, divided by the largest of the row, which is the scale."""
        assert self.dim is not None
        x = x * self.dim**-0.25
        logs = x @ self.projection.to(x).mT - x.square().sum(-1, keepdim=True) / 2
        top = logs.detach().amax(-1, keepdim=True)
        return Mapped(torch.exp(logs - top) * self.count**-0.5, top)


def _orthogonal(count: int, dim: int, generator: Generator | None) -> Float[Tensor, "count dim"]:
    """Rows orthogonal within each block of `dim`, each N(0, I) by itself."""
    blocks = -(-count // dim)
    drawn = torch.randn(blocks, dim, dim, dtype=torch.float64, generator=generator)
    directions, triangle = torch.linalg.qr(drawn)
    # Without the signs of the triangle's diagonal the directions would not be uniform.
    signs = triangle.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    lengths = torch.randn(blocks * dim, dim, dtype=torch.float64, generator=generator)
    return ((directions * signs).flatten(0, 1) * lengths.norm(dim=-1, keepdim=True))[:count]
