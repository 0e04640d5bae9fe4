"""Where each mechanism looks in the gallery's sentence pair, as weights [target, source].

What is learned is first trained, a little, to look at the gold words (`sentence.fit`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import qkv
from generator.sentence import GOLD, SOURCE, TARGET, fit, vectors
from qkv.nn.alignments import ALIGNMENTS
from qkv.nn.memory_network import MemoryNetwork
from qkv.nn.ntm import Address, address
from qkv.view import Figure, svg


def picture(weights: Tensor) -> str:
    """Draw the weights, rounded first: the last digits differ between machines."""
    rounded = weights.detach().double().clamp(0, 1).mul(100).round().div(100)
    target = SOURCE if rounded.shape[-2] == len(SOURCE) else TARGET
    return svg(Figure(rounded, target, SOURCE, ""), details=False)


def build(part: str) -> Any:
    """Evaluate the expression of an example; modules in float64, as outside training."""
    made = eval(part, {"qkv": qkv, "torch": torch, "ALIGNMENTS": ALIGNMENTS})  # our own text
    return made.double().eval() if isinstance(made, nn.Module) else made


def score(part: str) -> Tensor:
    """The pair under a softmax."""
    query, key = vectors()
    built = build(part)

    def weights() -> Tensor:
        return qkv.attend(query, key, score=built, need="weights").weights

    fit(built, weights)
    return weights()[0]


def mask(part: str) -> Tensor:
    """The source against itself: the pairs that may meet."""
    return build(part).dense(len(SOURCE), len(SOURCE)).reshape(-1, len(SOURCE), len(SOURCE))[0]


def bias(part: str) -> Tensor:
    """The pair without any content: positions alone. The first head."""
    nothing = torch.zeros(1, 8, len(TARGET), 1, dtype=torch.float64)
    built = build(part)

    def weights() -> Tensor:
        return qkv.attend(nothing, nothing[..., :-1, :], bias=built, need="weights").weights

    fit(built, weights)
    return weights()[0, 0]


def rotary(part: str) -> Tensor:
    """The pair without any content: the same vector everywhere, turned."""
    built, ones = build(part), torch.ones(1, len(TARGET), 16, dtype=torch.float64)
    query, key = built(ones), built(ones[:, :-1])
    return qkv.attend(query, key, need="weights").weights[0]


def normalizer(part: str) -> Tensor:
    """The pair under the scaled dot score."""
    query, key = vectors()
    return qkv.attend(query, key, normalizer=build(part), need="weights").weights[0]


def reweighter(part: str) -> Tensor:
    """The pair under the scaled dot score and a softmax."""
    query, key = vectors()
    return qkv.attend(query, key, reweighter=build(part), need="weights").weights[0]


def local(part: str) -> Tensor:
    """The pair under the scaled dot score; a position that is predicted learns the gold one."""
    query, key = vectors()
    placed = build(part)
    if list(placed.parameters()):
        optimizer = torch.optim.Adam(placed.parameters(), lr=0.03)
        for _ in range(150):
            optimizer.zero_grad()
            F.mse_loss(placed.positions(query, torch.tensor([13]))[0], GOLD.double()).backward()
            optimizer.step()
    attention = qkv.Attention(score="scaled_dot", local=placed)
    return attention(query, key, need="weights").weights[0]


def features(part: str) -> Tensor:
    """The weights that the shared sums amount to."""
    query, key = vectors()
    return qkv.linear_attend(query, key, features=build(part), need="weights").weights[0]


def alignment(part: str) -> Tensor:
    """The prior of each step, when the gold words are what speaks."""
    query, key = vectors()
    energies = query @ key.mT / 4
    real = torch.ones(1, len(SOURCE), dtype=torch.bool)
    return build(part).priors(energies, real, energies.log_softmax(-1)).exp()[0]


def ntm(part: str) -> Tensor:
    """One head goes over a memory that holds the source, a step a target word."""
    query, memory = vectors()
    one = torch.ones(1, 1, dtype=torch.float64)
    where, rows = torch.eye(len(SOURCE), dtype=torch.float64)[:1].unsqueeze(0), []
    for step in query.split(1, dim=1):
        shifts = torch.tensor([[[0.05, 0.8, 0.15]]], dtype=torch.float64)
        to = Address(step, 8 * one.unsqueeze(-1), 0.7 * one, shifts, 1.5 * one)
        where = address(memory, to, where)
        rows.append(where[0, 0])
    return torch.stack(rows)


def memory_network(part: str) -> Tensor:
    """Asked with each target word, one memory a source word; the second of two hops."""
    ids = {word: place for place, word in enumerate(dict.fromkeys(SOURCE), 1)}
    memories = torch.tensor([[[ids[word]] for word in SOURCE]]).expand(len(TARGET), -1, -1)
    question = torch.arange(len(TARGET)).unsqueeze(1) + len(ids) + 1
    network = MemoryNetwork.adjacent(len(ids) + len(TARGET) + 1, 16, hops=2).double()
    counts = torch.full((len(TARGET),), len(SOURCE))

    def weights() -> Tensor:
        return network(memories, counts, question).weights[:, -1]

    fit(network, weights)
    return weights()
