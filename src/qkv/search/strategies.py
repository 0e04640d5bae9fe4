"""How each hypothesis goes on: the one place where greedy, beam and sampling differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from qkv.config import SearchConfig
from qkv.search.largest import largest


class Picked(NamedTuple):
    """The continuations that go on, of each sentence; impossible ones have total -inf.

    beams, tokens: continue hypothesis `beams[k]` with `tokens[k]`.
    totals: log p of the result, in double precision.
    """

    beams: Int[Tensor, "batch picked"]
    tokens: Int[Tensor, "batch picked"]
    totals: Float[Tensor, "batch picked"]


class Problem(NamedTuple):
    """What a strategy may prepare from: the sources, and the longest output of each."""

    source: Int[Tensor, "batch source"]
    lengths: Int[Tensor, " batch"]
    limits: Int[Tensor, " batch"]
    n_best: int


class Strategy(Protocol):
    """Chooses continuations. A value; of a sentence it may use nothing of another sentence's.

    greedy: whether the likeliest token of the one hypothesis is all that it wants to know.
    """

    @property
    def greedy(self) -> bool: ...

    def pick(
        self,
        log_probs: Float[Tensor, "batch beams vocabulary"],
        totals: Float[Tensor, "batch beams"],
        sentences: Int[Tensor, " batch"],
        step: int,
    ) -> Picked:
        """Pick from every continuation of every hypothesis.

        log_probs: of the next token; `Picked.tokens` are places in it. totals: log p so far, -inf
        for hypotheses that have ended. sentences, step: whose turn, to look up prepared values.
        """
        ...


@dataclass(frozen=True)
class Beam:
    """The `width` likeliest continuations of each sentence; width 1 is greedy search.

    All continuations of a step have the same length, so log p ranks them as the score would. A
    continuation by EOS takes one of the places in its own step only: the next step refills it.
    """

    width: int

    @property
    def greedy(self) -> bool:
        """See `Strategy`."""
        return self.width == 1

    def pick(
        self,
        log_probs: Float[Tensor, "batch beams vocabulary"],
        totals: Float[Tensor, "batch beams"],
        sentences: Int[Tensor, " batch"],
        step: int,
    ) -> Picked:
        """See `Strategy.pick`."""
        # The best of each hypothesis contain the best of all, and the sums stay small enough to
        # take in double precision: five times faster than one topk over doubles.
        best, tokens = largest(log_probs, min(self.width, log_probs.shape[-1]))
        if self.width == log_probs.shape[1] == 1:
            return Picked(torch.zeros_like(tokens[..., 0]), tokens[..., 0], totals + best[..., 0])
        candidates = (totals.unsqueeze(-1) + best).flatten(1)
        picked, index = candidates.topk(min(self.width, candidates.shape[-1]))
        beams = index.div(best.shape[-1], rounding_mode="floor")
        return Picked(beams, tokens.flatten(1).gather(1, index), picked)


@dataclass(frozen=True)
class Sample:
    """Independent draws from p(y_i)^(1/temperature), cut to its likeliest tokens.

    top_k keeps the k likeliest tokens; top_p, after it, the fewest likeliest ones whose mass
    reaches p (Holtzman et al. 2020, section 3.1). Totals are of the model's own distribution.

    uniforms: the random numbers of each sentence, draw and step, in [0, 1).
    """

    temperature: float
    top_k: int
    top_p: float
    uniforms: Float[Tensor, "sentences draws time"]
    greedy: ClassVar[bool] = False

    def pick(
        self,
        log_probs: Float[Tensor, "batch beams vocabulary"],
        totals: Float[Tensor, "batch beams"],
        sentences: Int[Tensor, " batch"],
        step: int,
    ) -> Picked:
        """See `Strategy.pick`. Each draw continues itself; the first step starts them all."""
        uniform = self.uniforms[sentences, :, step]
        draws = torch.arange(uniform.shape[1], device=totals.device)
        beams = draws.clamp(max=totals.shape[1] - 1).expand_as(uniform)
        # Inverse of the distribution function, taken in the order of the vocabulary: in the order
        # of probability, a rounding error that swaps two tokens would change the draw.
        mass = self.distribution(log_probs).cumsum(-1).expand(*uniform.shape, -1).contiguous()
        target = (uniform * mass[..., -1]).unsqueeze(-1)
        tokens = torch.searchsorted(mass, target, right=True)
        tokens = tokens.clamp(max=mass.shape[-1] - 1)  # only a row that is NaN or empty is past it
        chosen = log_probs.expand(-1, uniform.shape[1], -1).gather(-1, tokens).squeeze(-1)
        return Picked(beams, tokens.squeeze(-1), totals.gather(1, beams) + chosen)

    def distribution(
        self, log_probs: Float[Tensor, "*batch vocabulary"]
    ) -> Float[Tensor, "*batch vocabulary"]:
        """Return what is drawn from: tempered and cut, in double precision."""
        logits = log_probs.double() / self.temperature
        if 0 < self.top_k < logits.shape[-1]:
            values, index = logits.topk(self.top_k)
            logits = torch.full_like(logits, -torch.inf).scatter(-1, index, values)
        probs = logits.softmax(-1)
        if self.top_p < 1:
            ranked, index = probs.sort(dim=-1, descending=True, stable=True)
            beyond = ranked.cumsum(-1) - ranked >= self.top_p
            probs = probs.masked_fill(torch.zeros_like(beyond).scatter(-1, index, beyond), 0.0)
        return probs


def _beam(config: SearchConfig, problem: Problem) -> Beam:
    if config.beam < 1:
        raise ValueError(f"search.beam = {config.beam}: a beam keeps at least 1 hypothesis")
    if problem.n_best > config.beam:
        raise ValueError(
            f"n_best = {problem.n_best} hypotheses were asked of a beam of {config.beam}; "
            "ask for fewer, or set search.beam at least as large"
        )
    return Beam(config.beam)


def _greedy(config: SearchConfig, problem: Problem) -> Beam:
    if problem.n_best > 1:
        raise ValueError(
            f"n_best = {problem.n_best}: greedy search finds one hypothesis; "
            "set search.method to beam or sample for more"
        )
    return Beam(1)


def _sample(config: SearchConfig, problem: Problem) -> Sample:
    allowed = {
        "temperature": (config.temperature > 0, "> 0"),
        "top_k": (config.top_k >= 0, ">= 0 (0: all tokens)"),
        "top_p": (0 < config.top_p <= 1, "in (0, 1]"),
        "seed": (config.seed >= 0, ">= 0"),
    }
    for name, (ok, what) in allowed.items():
        if not ok:
            raise ValueError(f"search.{name} = {getattr(config, name)}: it must be {what}")
    return Sample(config.temperature, config.top_k, config.top_p, _uniforms(config.seed, problem))


def _uniforms(seed: int, problem: Problem) -> Float[Tensor, "sentences draws time"]:
    """Draw the random numbers of each sentence from (seed, draw, its ids) and nothing else.

    A sentence's samples therefore do not depend on the batch, the order or the padding, and its
    first draw does not depend on how many are asked for.
    """
    lengths, limits = problem.lengths.tolist(), problem.limits.tolist()
    uniforms = np.zeros((len(lengths), problem.n_best, max(limits)))
    for i, (ids, length, limit) in enumerate(
        zip(problem.source.tolist(), lengths, limits, strict=True)
    ):
        for draw in range(problem.n_best):
            generator = np.random.default_rng([seed, draw, *ids[:length]])
            uniforms[i, draw, :limit] = generator.random(limit)
    return torch.from_numpy(uniforms).to(problem.source.device)


STRATEGIES: dict[str, Callable[[SearchConfig, Problem], Strategy]] = {
    "beam": _beam,
    "greedy": _greedy,
    "sample": _sample,
}


def build(config: SearchConfig, problem: Problem) -> Strategy:
    """Return the strategy that `config.method` names, prepared for these sentences.

    Raises: ValueError for an unknown name, or a setting out of range.
    """
    if config.method not in STRATEGIES:
        raise ValueError(
            f"unknown search.method {config.method!r}; allowed: {', '.join(STRATEGIES)}"
        )
    if problem.n_best < 1:
        raise ValueError(f"n_best = {problem.n_best}: ask for at least 1 hypothesis")
    return STRATEGIES[config.method](config, problem)
