"""The equation written as loops over Python floats: slow, and nobody can get it wrong."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from qkv.attention.scores import build
from qkv.attention.scores.score import Score

B, H, T, S = 2, 3, 5, 7  # distinct primes: a transposed axis cannot pass
QUERY, KEY, HIDDEN, VALUE = 11, 13, 17, 19
ONE_WIDTH = ("dot", "scaled_dot", "cosine")  # scores that compare vectors as they are
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def dot(x: list[float], y: list[float]) -> float:
    return sum(a * b for a, b in zip(x, y, strict=True))


def times(matrix: list[list[float]], x: list[float]) -> list[float]:
    return [dot(row, x) for row in matrix]


def numbers(tensor: Tensor) -> list:
    return tensor.detach().double().tolist()


def energy(name: str, score: Score, q: list[float], k: list[float]) -> tuple[float, float]:
    """One energy and its size: the sum of the sizes of everything that was added to make it."""
    if name == "cosine":
        lengths = math.sqrt(dot(q, q)) * math.sqrt(dot(k, k))
        return score.beta * dot(q, k) / lengths, abs(score.beta)
    if name in ("dot", "scaled_dot"):
        scale = 1 / math.sqrt(len(q)) if name == "scaled_dot" else 1.0
        return dot(q, k) * scale, sum(abs(a * b) for a, b in zip(q, k, strict=True)) * scale
    p = {part: numbers(parameter) for part, parameter in score.named_parameters()}
    if name == "general":
        W = p["project_key.weight"]
        terms = itertools.product(range(len(q)), range(len(k)))
        size = sum(abs(q[i] * W[i][j] * k[j]) for i, j in terms)
        return dot(q, times(W, k)), size
    if name == "additive":
        W, U = p["project_query.weight"], p["project_key.weight"]
    elif name == "deep":
        return deep_energy(p, q, k)
    elif name == "concat":
        W = [row[: len(q)] for row in p["project.weight"]]
        U = [row[len(q) :] for row in p["project.weight"]]
    else:
        raise AssertionError(f"write the score {name!r} as a loop here")
    v, total, size = p["v"], 0.0, 0.0
    for d in range(len(v)):
        total += v[d] * math.tanh(dot(W[d], q) + dot(U[d], k))
        inside = sum(abs(a * b) for a, b in zip(W[d] + U[d], q + k, strict=True))
        size += abs(v[d]) * (1 + inside)
    return total, size


def deep_energy(p: dict, q: list[float], k: list[float]) -> tuple[float, float]:
    """The network unit by unit; an error in a layer is multiplied by the weights that follow."""
    W, U = p["project_query.weight"], p["project_key.weight"]
    units = [math.tanh(dot(W[d], q) + dot(U[d], k)) for d in range(len(W))]
    inside = zip(W, U, strict=True)
    off = [1 + sum(abs(a * b) for a, b in zip(w + u, q + k, strict=True)) for w, u in inside]
    for n in itertools.count():
        if f"further.{n}.weight" not in p:
            break
        W, b = p[f"further.{n}.weight"], p[f"further.{n}.bias"]
        off = [
            1 + abs(b[d]) + sum(abs(w) * (1 + o) for w, o in zip(W[d], off, strict=True))
            for d in range(len(W))
        ]
        units = [math.tanh(dot(W[d], units) + b[d]) for d in range(len(W))]
    return dot(p["v"], units), sum(abs(v) * (1 + o) for v, o in zip(p["v"], off, strict=True))


@dataclass
class Expected:
    """What must come out, in float64, and how large the numbers on the way were."""

    context: Tensor
    weights: Tensor
    log_normalizer: Tensor
    energy_size: float


def energies_by_loops(name: str, score: Score, query: Tensor, key: Tensor) -> tuple[list, list]:
    """All energies and their sizes, [B][H][T][S]."""
    q, k = numbers(query), numbers(key)
    values, sizes = torch.zeros(2, *query.shape[:-1], key.shape[-2], dtype=torch.float64)
    for b, h, i, j in itertools.product(*map(range, values.shape)):
        if name == "location":
            w = numbers(score.places.weight)[j]
            values[b, h, i, j] = dot(w, q[b][h][i])
            sizes[b, h, i, j] = sum(abs(x * y) for x, y in zip(w, q[b][h][i], strict=True))
            continue
        values[b, h, i, j], sizes[b, h, i, j] = energy(name, score, q[b][h][i], k[b][h][j])
    return values.tolist(), sizes.tolist()


def by_loops(energies: tuple[list, list], value: Tensor, keep: Tensor, bias: Tensor) -> Expected:
    """c_i = sum_j exp(e_ij) v_j / sum_j exp(e_ij), over the j that i may meet."""
    batch, heads, queries, keys = keep.shape
    weights = torch.zeros(keep.shape, dtype=torch.float64)
    lse = torch.full(keep.shape[:-1], -math.inf, dtype=torch.float64)
    context = torch.zeros(*keep.shape[:-1], value.shape[-1], dtype=torch.float64)
    v, added, may = numbers(value), numbers(bias), keep.tolist()
    largest = 0.0
    for b, h, i in itertools.product(range(batch), range(heads), range(queries)):
        allowed = [j for j in range(keys) if may[b][h][i][j]]
        if not allowed:
            continue
        e = {j: energies[0][b][h][i][j] + added[b][h][i][j] for j in allowed}
        largest = max(largest, *(energies[1][b][h][i][j] for j in allowed), 0.0)
        top = max(e.values())
        total = sum(math.exp(e[j] - top) for j in allowed)
        w = {j: math.exp(e[j] - top) / total for j in allowed}
        lse[b, h, i] = top + math.log(total)
        for j in allowed:
            weights[b, h, i, j] = w[j]
        context[b, h, i] = torch.tensor(
            [sum(w[j] * v[b][h][j][d] for j in allowed) for d in range(value.shape[-1])],
            dtype=torch.float64,
        )
    return Expected(context, weights, lse, largest)


@dataclass
class Tolerance:
    """Absolute error that rounding can explain.

    u = eps of the dtype, E = sum of the sizes of an energy's terms, n = how many terms.
    An energy is off by at most n u E (every addition and product rounds once); half precision
    adds in float32 and rounds only what it stores: projected query, projected key, so 4 u E.
    A softmax turns an error of x in the energies into a relative error of 2x in the weights, to
    which its own S additions and 3 roundings come; a context is a mean of values, so its error
    is that times the largest value, and one more rounding.
    """

    energy: float
    weights: float
    context: float


def tolerance(dtype: torch.dtype, expected: Expected, terms: int, value: Tensor) -> Tolerance:
    u = torch.finfo(dtype).eps
    half = dtype in (torch.float16, torch.bfloat16)
    energy = (4 if half else terms + 4) * u * max(expected.energy_size, 1.0)
    weights = 2 * energy + (3 if half else expected.weights.shape[-1] + 3) * u
    return Tolerance(
        energy + 4 * u * expected.log_normalizer.nan_to_num(neginf=0).abs().max().item(),
        weights,
        (weights + u) * value.double().abs().max().item(),
    )


def widths(name: str) -> tuple[int, int]:
    """Query and key width: different wherever the score can compare different ones."""
    return (QUERY, QUERY) if name in ONE_WIDTH else (QUERY, KEY)


def make_score(name: str, dtype: torch.dtype = torch.float64) -> Score:
    query_dim, key_dim = widths(name)
    score = build(name, query_dim=query_dim, key_dim=key_dim, hidden=HIDDEN).to(dtype)
    for parameter in score.parameters():  # a v of zeros would hide every mistake
        torch.nn.init.normal_(parameter, std=0.5)
    return score


def make_inputs(
    name: str, dtype: torch.dtype = torch.float64, leading: tuple[int, ...] = (B, H)
) -> tuple[Tensor, Tensor, Tensor]:
    query_dim, key_dim = widths(name)
    return (
        torch.randn(*leading, T, query_dim).to(dtype),
        torch.randn(*leading, S, key_dim).to(dtype),
        torch.randn(*leading, S, VALUE).to(dtype),
    )
