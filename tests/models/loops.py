"""Recurrences and scores written from their equations, one vector at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from qkv.models.encoders import RecurrentEncoder

# One layer of a recurrence in one direction: input matrix, recurrent matrix, and their biases.
Weights = tuple[Tensor, Tensor, Tensor, Tensor]


def sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-x))


def rnn(x: Tensor, h: Tensor, c: Tensor, weights: Weights) -> tuple[Tensor, Tensor]:
    W, R, b, d = weights
    h = torch.tanh(W @ x + b + R @ h + d)
    return h, h


def gru(x: Tensor, h: Tensor, c: Tensor, weights: Weights) -> tuple[Tensor, Tensor]:
    """torch's convention: z keeps, and r is applied after the product (Cho: before it)."""
    (Wr, Wz, Wn), (Rr, Rz, Rn), (br, bz, bn), (dr, dz, dn) = (part.chunk(3) for part in weights)
    r = sigmoid(Wr @ x + br + Rr @ h + dr)
    z = sigmoid(Wz @ x + bz + Rz @ h + dz)
    n = torch.tanh(Wn @ x + bn + r * (Rn @ h + dn))
    h = (1 - z) * n + z * h
    return h, h


def lstm(x: Tensor, h: Tensor, c: Tensor, weights: Weights) -> tuple[Tensor, Tensor]:
    W, R, b, d = weights
    i, f, g, o = (W @ x + b + R @ h + d).chunk(4)
    c = sigmoid(f) * c + sigmoid(i) * torch.tanh(g)
    return sigmoid(o) * torch.tanh(c), c


CELLS: dict[str, Callable[[Tensor, Tensor, Tensor, Weights], tuple[Tensor, Tensor]]] = {
    "rnn": rnn,
    "gru": gru,
    "lstm": lstm,
}


def weights_of(module: nn.Module, suffix: str = "") -> Weights:
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    W, R, b, d = (getattr(module, name + suffix) for name in names)
    return W, R, b, d


def run(
    cell: str, inputs: Sequence[Tensor], h: Tensor, c: Tensor, weights: Weights
) -> tuple[list[Tensor], Tensor]:
    """All states of one layer, and its last cell."""
    states = []
    for x in inputs:
        h, c = CELLS[cell](x, h, c, weights)
        states.append(h)
    return states, c


def encode(
    encoder: RecurrentEncoder, cell: str, ids: Sequence[int]
) -> tuple[list[Tensor], list[Tensor], list[Tensor], Tensor]:
    """Annotations; each layer's last states and cells; the last layer's last backward state."""
    states = [encoder.embedding.weight[i] for i in ids]
    finals, cells = [], []
    for layer in encoder.layers:
        passes, last = [], []
        for reverse, recurrence in zip((False, True), layer, strict=False):
            inputs = states[::-1] if reverse else states
            weights = weights_of(recurrence, "_l0")
            zero = torch.zeros(weights[1].shape[1], dtype=weights[1].dtype)
            read, c = run(cell, inputs, zero, zero, weights)
            last.append((read[-1], c))
            passes.append(read[::-1] if reverse else read)
        states = [torch.cat(both) for both in zip(*passes, strict=True)]
        finals.append(torch.cat([h for h, _ in last]))
        cells.append(torch.cat([c for _, c in last]))
    return states, finals, cells, last[-1][0]


SCORES = ("dot", "scaled_dot", "general", "additive", "concat")  # those written below


def energy(name: str, score: nn.Module, q: Tensor, k: Tensor) -> Tensor:
    """Bahdanau's appendix A.1.2, Luong's eq. 8, Vaswani's eq. 1."""
    if name == "additive":
        return score.v @ torch.tanh(score.project_query.weight @ q + score.project_key.weight @ k)
    if name == "concat":
        return score.v @ torch.tanh(score.project.weight @ torch.cat([q, k]))
    if name == "general":
        return q @ (score.project_key.weight @ k)
    return q @ k / (len(q) ** 0.5 if name == "scaled_dot" else 1)


def attend(
    name: str, score: nn.Module, q: Tensor, annotations: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Context and weights: a softmax of energies, and a weighted sum."""
    exponentials = [torch.exp(energy(name, score, q, h)) for h in annotations]
    alpha = torch.stack([e / sum(exponentials) for e in exponentials])
    context = sum(alpha[j] * h for j, h in enumerate(annotations))
    return context, alpha
