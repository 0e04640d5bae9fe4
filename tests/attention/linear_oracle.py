"""Linear attention pair by pair in float64, and the features row by row; differentiable."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qkv.attention.linear import Elu, FeatureMap, Mapped, PositiveRandom

B, H, T, S, DIM, COUNT, VALUE = 2, 3, 5, 7, 11, 13, 17  # primes: no transposed axis can pass


class Learned(FeatureMap):
    """A feature map of a user's own, with parameters: softplus(W x), twice as many features."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.project = nn.Linear(dim, 2 * dim, bias=False)

    @classmethod
    def sized(cls, dim: int) -> Learned:
        return cls(dim)

    def width(self, dim: int) -> int:
        return 2 * dim

    def forward(self, x: Tensor) -> Mapped:
        features = F.softplus(self.project(x))
        return Mapped(features, torch.zeros_like(features[..., :1]))


MAPS = {
    "elu": lambda dim, count=COUNT: Elu(),
    "positive_random": lambda dim, count=COUNT: PositiveRandom(dim, count),
    "learned": lambda dim, count=COUNT: Learned(dim),
}


def phi(features: FeatureMap, x: Tensor) -> Tensor:
    """The features of one row, from the papers' equations."""
    if isinstance(features, Elu):
        return F.elu(x) + 1
    if isinstance(features, Learned):
        return F.softplus(features.project.weight.double() @ x)
    x, w = x / len(x) ** 0.25, features.projection.double()
    return torch.exp(w @ x - x @ x / 2) / len(w) ** 0.5


@dataclass
class Expected:
    context: Tensor
    weights: Tensor
    log_normalizer: Tensor


def by_loops(
    features: FeatureMap, query: Tensor, key: Tensor, value: Tensor, keep: Tensor
) -> Expected:
    """c_i = sum_j phi(q_i) . phi(k_j) v_j / sum_j phi(q_i) . phi(k_j), over j with keep[i, j]."""
    batch, heads, queries, keys = keep.shape
    context = torch.zeros(*keep.shape[:-1], value.shape[-1], dtype=torch.float64)
    weights = torch.zeros(keep.shape, dtype=torch.float64)
    logs = torch.full(keep.shape[:-1], -torch.inf, dtype=torch.float64)
    for b, h in itertools.product(range(batch), range(heads)):
        asked = [phi(features, row) for row in query[b, h].double()]
        held = [phi(features, row) for row in key[b, h].double()]
        for i in range(queries):
            met = [j for j in range(keys) if keep[b, h, i, j]]
            similar = {j: asked[i] @ held[j] for j in met}
            total = sum(similar.values())
            for j in met:
                weights[b, h, i, j] = similar[j] / total
                context[b, h, i] += similar[j] / total * value[b, h, j].double()
            if met:
                logs[b, h, i] = torch.log(total)
    return Expected(context, weights, logs)


@dataclass
class Tolerance:
    """Absolute error that rounding can explain.

    u = eps of the dtype that is summed in, m features of d dimensions, S keys. An exponent w . x
    of size E is off by at most (d + 2) u E, and so is exp of it, relatively. All similarities are
    sums of positive terms, m of them, and the denominator of S more: their relative errors add up
    without growing. Numerator and denominator each: 2 (d + 2) E + m + S + 8 roundings. A context
    is a mean of values, so its error is both together times the largest value; what is stored
    in half precision is rounded once more.
    """

    weights: float
    context: float
    logs: float


def tolerance(dtype: torch.dtype, inputs: tuple[Tensor, ...], expected: Expected) -> Tolerance:
    query, key, value = inputs
    u = torch.finfo(torch.promote_types(dtype, torch.float32)).eps
    stored = torch.finfo(dtype).eps
    d, m, keys = query.shape[-1], 2 * max(COUNT, DIM), key.shape[-2]
    # |w . x'| + |x'|^2 / 2 <= |w|_1 |x|_inf + ..., with |w| below 4 a dimension
    size = max(x.double().abs().max().item() for x in (query, key))
    exponent = 4 * d * size + d * size**2 / 2
    relative = 2 * (2 * (d + 2) * exponent + m + keys + 8) * u
    finite = expected.log_normalizer.detach().nan_to_num(neginf=0)
    return Tolerance(
        relative + stored,
        (relative + stored) * value.double().abs().max().item(),
        relative + 4 * u * finite.abs().max().item(),
    )


def make_inputs(
    dtype: torch.dtype = torch.float64, leading: tuple[int, ...] = (B, H)
) -> tuple[Tensor, Tensor, Tensor]:
    return (
        torch.randn(*leading, T, DIM).to(dtype),
        torch.randn(*leading, S, DIM).to(dtype),
        torch.randn(*leading, S, VALUE).to(dtype),
    )
