"""Tiny random models for the tests of search, and the loops that search is held against."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from qkv.config import SearchConfig
from qkv.models.decoder import Step
from qkv.text import BOS, EOS, PAD

HIDDEN = 7


@dataclass(frozen=True)
class TinyState:
    hidden: Tensor  # [B, K, H]: a function of all the tokens read
    memory: Tensor  # [B, S, H]
    lengths: Tensor  # [B]

    def select(self, sentences: Tensor, beams: Tensor) -> TinyState:
        index = beams.unsqueeze(-1).expand(-1, -1, self.hidden.shape[-1])
        return TinyState(
            self.hidden[sentences].gather(1, index),
            self.memory[sentences],
            self.lengths[sentences],
        )


class Tiny:
    """A recurrent decoder with dot attention and random weights; `end` raises the odds of EOS."""

    def __init__(
        self,
        vocabulary: int = 11,
        *,
        seed: int = 0,
        end: float = 0.0,
        attends: bool = True,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        generator = torch.Generator().manual_seed(seed)

        def random(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

        self.source, self.target = random(50, HIDDEN), random(vocabulary, HIDDEN)
        self.recur, self.output = random(HIDDEN, HIDDEN), random(HIDDEN, vocabulary)
        self.bias = torch.zeros(vocabulary, dtype=dtype)
        self.bias[EOS] = end
        self.attends = attends
        self.batches: list[int] = []
        self.copies = 0

    def start(self, source: Tensor, lengths: Tensor) -> TinyState:
        memory = self.source[source]
        real = (torch.arange(source.shape[1]) < lengths[:, None]).to(memory)
        mean = (memory * real[..., None]).sum(1) / lengths[:, None]
        return TinyState(mean.unsqueeze(1), memory, lengths)

    def step(self, tokens: Tensor, state: TinyState) -> Step:
        self.batches.append(len(tokens))
        hidden = torch.tanh(state.hidden @ self.recur + self.target[tokens])
        energies = hidden @ state.memory.transpose(1, 2)
        pads = torch.arange(energies.shape[-1]) >= state.lengths[:, None, None]
        weights = energies.masked_fill(pads, -math.inf).softmax(-1)
        logits = (hidden + weights @ state.memory) @ self.output + self.bias
        after = Watched(hidden, state.memory, state.lengths, self)
        return Step(logits.log_softmax(-1), after, weights if self.attends else None)


@dataclass(frozen=True)
class Watched(TinyState):
    """A state that counts its copies."""

    model: Tiny

    def select(self, sentences: Tensor, beams: Tensor) -> TinyState:
        self.model.copies += 1
        return super().select(sentences, beams)


class Fixed:
    """A model without memory: the same distribution in every step."""

    def __init__(self, probabilities: Sequence[float]) -> None:
        self.log_probs = torch.tensor(probabilities, dtype=torch.float64).log()

    def start(self, source: Tensor, lengths: Tensor) -> Fixed:
        return self

    def select(self, sentences: Tensor, beams: Tensor) -> Fixed:
        return self

    def step(self, tokens: Tensor, state: Fixed) -> Step:
        return Step(self.log_probs.expand(*tokens.shape, -1), self, None)


def sentences(count: int, *, seed: int = 0, longest: int = 9) -> list[list[int]]:
    """Return random sources with their EOS; the first is empty."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(0, longest + 1, (count,), generator=generator).tolist()
    lengths[0] = 0
    return [[*torch.randint(4, 50, (n,), generator=generator).tolist(), EOS] for n in lengths]


def padded(ids: Sequence[Sequence[int]], extra: int = 0) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([len(one) for one in ids])
    source = torch.full((len(ids), int(lengths.max()) + extra), PAD)
    for row, one in enumerate(ids):
        source[row, : len(one)] = torch.tensor(one)
    return source, lengths


def force(model: Tiny, ids: Sequence[int], output: Sequence[int]) -> tuple[float, Tensor]:
    """Feed one given output token by token: its log p, and its rows of attention."""
    state = model.start(torch.tensor([list(ids)]), torch.tensor([len(ids)]))
    total, rows = 0.0, []
    for read, expected in itertools.pairwise([BOS, *output]):
        log_probs, state, attention = model.step(torch.tensor([[read]]), state)
        total += log_probs[0, 0, expected].item()
        rows.append(torch.zeros(len(ids)) if attention is None else attention[0, 0])
    return total, torch.stack(rows)


def score(log_prob: float, rows: Tensor, alpha: float, beta: float) -> float:
    """Return the score of Wu et al. 2016, eq. 14, number by number."""
    value = log_prob / (((5 + len(rows)) / 6) ** alpha)
    for column in range(rows.shape[1] if beta else 0):
        value += beta * math.log(min(sum(row[column].item() for row in rows), 1.0))
    return value


@dataclass(frozen=True)
class Found:
    tokens: tuple[int, ...]
    log_prob: float
    score: float


def ranked(model: Tiny, ids: Sequence[int], outputs: list[list[int]], config: SearchConfig):
    found = []
    for output in outputs:
        log_prob, rows = force(model, ids, output)
        value = score(log_prob, rows, config.alpha, config.coverage)
        found.append(Found(tuple(output[:-1]), log_prob, value))
    return sorted(found, key=lambda one: -one.score)


def enumerate_all(model: Tiny, vocabulary: int, ids: Sequence[int], config: SearchConfig):
    """Return every output that ends within the limit, best first."""
    limit = int(config.max_ratio * (len(ids) - 1)) + config.max_extra
    words = [token for token in range(vocabulary) if token not in (PAD, BOS, EOS)]
    outputs = [
        [*prefix, EOS]
        for length in range(limit)
        for prefix in itertools.product(words, repeat=length)
    ]
    return ranked(model, ids, outputs, config)


def naive_beam(model: Tiny, vocabulary: int, ids: Sequence[int], config: SearchConfig):
    """Beam search in lists, one hypothesis a time, always to the longest length."""
    limit = int(config.max_ratio * (len(ids) - 1)) + config.max_extra
    live, ended = [[]], []
    for _ in range(limit):
        grown = [
            [*prefix, token]
            for prefix in live
            for token in range(vocabulary)
            if token not in (PAD, BOS)
        ]
        scored = [(force(model, ids, output)[0], output) for output in grown]
        best = sorted(scored, key=lambda pair: -pair[0])[: config.beam]
        ended += [output for _, output in best if output[-1] == EOS]
        live = [output for _, output in best if output[-1] != EOS]
    return ranked(model, ids, ended, config)
