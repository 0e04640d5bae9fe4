"""The one search routine: greedy, beam and sampling over a model's `start` and `step`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from qkv.config import SearchConfig
from qkv.models.decoder import Decoder, GreedyDecoder, State
from qkv.search.finished import Finished
from qkv.search.hypothesis import Hypothesis, Record, follow
from qkv.search.scoring import Scoring, require_attention
from qkv.search.strategies import Picked, Problem, Strategy, build
from qkv.text import BOS, EOS
from qkv.text.vocabulary import FIRST_WORD


class Live(NamedTuple):
    """The hypotheses that a search still extends.

    sentences: which sentences of the batch are left, in rising order.
    tokens: the last token of each hypothesis. totals: its log p; -inf if it has ended.
    covered: the attention that each source token got so far, 1 on padding; None without coverage.
    """

    sentences: Int[Tensor, " batch"]
    tokens: Int[Tensor, "batch beams"]
    totals: Float[Tensor, "batch beams"]
    covered: Float[Tensor, "batch beams source"] | None


@torch.no_grad()
def search(
    decoder: Decoder,
    source: Int[Tensor, "batch source"],
    lengths: Int[Tensor, " batch"],
    config: SearchConfig,
    n_best: int = 1,
    *,
    longest: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[list[Hypothesis]]:
    """Return the `n_best` best hypotheses found for each sentence, best first.

    The hypotheses of a step are one batch for the model. Those that end are set aside; a sentence
    leaves the batch when no hypothesis of it can still enter its n best (an exact bound, see
    `Scoring.bound`) or at its longest length. What a sentence gets depends neither on the other
    sentences, nor, for a beam, on `n_best`: fewer are the first of more. With sampling, `n_best`
    independent draws are ranked.

    Fewer than `n_best` are returned where fewer finish; unfinished ones (`complete` False) only
    where none does.

    Args:
        decoder: a model in eval mode.
        source: ids that end with EOS, then pads. lengths: the true lengths, EOS counted.
        config: see `SearchConfig`; the longest output, EOS counted, is
            floor(max_ratio * source tokens without EOS) + max_extra.
        n_best: at most `config.beam` for a beam, 1 for greedy.
        longest: of any output, EOS counted: what the model has positions for; None: no limit.
        progress: called after each step with the number of sentences that are done with it.

    Raises:
        ValueError: a setting out of range; a coverage penalty for a model without attention; a
            model that gives NaN, or no token a probability above 0.
    """
    if len(source) == 0:
        return []
    limits = _limits(lengths, config, longest)
    strategy = build(config, Problem(source, lengths, limits, n_best))
    finished = Finished(Scoring(config.alpha, config.coverage), limits, n_best)
    records: list[Record] = []
    live = _begin(source, lengths, config)
    state = decoder.start(source, lengths)
    extend = _extend(decoder, strategy)
    while len(live.sentences) > 0:
        number = len(records)
        picked, state, attention = extend(live, state, number)
        records.append(Record(live.sentences, picked.beams, picked.tokens, attention))
        covered = _cover(live.covered, picked.beams, attention)
        going = finished.take(live.sentences, picked, covered, number)
        live, state = _advance(live, picked, covered, going, state)
        if progress is not None:
            progress(0 if going is None else len(going) - len(live.sentences))
    return _collect(finished, records, lengths)


def _limits(
    lengths: Int[Tensor, " batch"], config: SearchConfig, longest: int | None
) -> Int[Tensor, " batch"]:
    """Return the longest output of each sentence, EOS counted."""
    sizes = [n - 1 for n in lengths.tolist()]
    limits = [math.floor(config.max_ratio * n) + config.max_extra for n in sizes]
    if min(limits) < 1:
        raise ValueError(
            f"search.max_ratio = {config.max_ratio} and search.max_extra = {config.max_extra} "
            f"leave no room for an output of a source of {sizes[limits.index(min(limits))]} "
            "tokens; raise max_extra to at least 1"
        )
    cut = limits if longest is None else [min(limit, longest) for limit in limits]
    return torch.tensor(cut, device=lengths.device)


def _begin(
    source: Int[Tensor, "batch source"], lengths: Int[Tensor, " batch"], config: SearchConfig
) -> Live:
    """Return one empty hypothesis for each sentence."""
    sentences = torch.arange(len(source), device=source.device)
    covered = None
    if config.coverage != 0:
        positions = torch.arange(source.shape[1], device=source.device)
        covered = (positions >= lengths[:, None]).double().unsqueeze(1)
    return Live(
        sentences,
        torch.full_like(sentences, BOS).unsqueeze(1),
        torch.zeros_like(sentences, dtype=torch.float64).unsqueeze(1),
        covered,
    )


def _extend(
    decoder: Decoder, strategy: Strategy
) -> Callable[[Live, State, int], tuple[Picked, State, Tensor | None]]:
    """Return what extends hypotheses: who goes on, and their parents' state and attention."""

    themselves: Tensor | None = None  # who has one hypothesis continues it

    def greedily(live: Live, state: State, _: int) -> tuple[Picked, State, Tensor | None]:
        nonlocal themselves
        log_probs, tokens, state, attention = best(live.tokens, state)
        if themselves is None or len(themselves) != len(tokens):
            themselves = torch.zeros_like(tokens)
        return Picked(themselves, tokens, live.totals + log_probs), state, attention

    def by_all(live: Live, state: State, step: int) -> tuple[Picked, State, Tensor | None]:
        log_probs, state, attention = decoder.step(live.tokens, state)
        picked = strategy.pick(_emittable(log_probs), live.totals, live.sentences, step)
        return picked._replace(tokens=picked.tokens + FIRST_WORD), state, attention

    if strategy.greedy and isinstance(decoder, GreedyDecoder):
        best = decoder.best
        return greedily
    return by_all


def _emittable(
    log_probs: Float[Tensor, "batch beams vocabulary"],
) -> Float[Tensor, "batch beams vocabulary"]:
    """Leave out PAD and BOS, by a view. Nothing is renormalised: log p stays the model's own."""
    return log_probs[..., FIRST_WORD:]


def _cover(
    covered: Float[Tensor, "batch parents source"] | None,
    beams: Int[Tensor, "batch beams"],
    attention: Float[Tensor, "batch parents source"] | None,
) -> Float[Tensor, "batch beams source"] | None:
    """Add this step's attention of each hypothesis to what its parent had covered."""
    if covered is None:
        return None
    index = beams.unsqueeze(-1).expand(-1, -1, covered.shape[-1])
    return (covered + require_attention(attention)).gather(1, index)


def _advance(
    live: Live,
    picked: Picked,
    covered: Float[Tensor, "batch beams source"] | None,
    going: Bool[Tensor, " batch"] | None,
    state: State,
) -> tuple[Live, State]:
    """Drop the sentences that are done, and give each live hypothesis its parent's state."""
    sentences, (beams, tokens, totals) = live.sentences, picked
    kept = sentences
    if going is not None:
        kept = going.nonzero().squeeze(1)
        totals = totals.masked_fill(tokens == EOS, -torch.inf)
        if len(kept) < len(going):
            sentences, beams, tokens, totals = (
                part[kept] for part in (sentences, beams, tokens, totals)
            )
            covered = None if covered is None else covered[kept]
    # Copying a state may be dear (a key-value cache); greedy search and sampling rarely need it.
    if len(kept) > 0 and not _same(live.tokens, beams):
        rows = torch.arange(len(beams), device=beams.device) if going is None else kept
        state = state.select(rows, beams)
    return Live(sentences, tokens, totals, covered), state


def _same(tokens: Int[Tensor, "batch parents"], beams: Int[Tensor, "kept beams"]) -> bool:
    """Whether each hypothesis continues itself, and none has left."""
    if tokens.shape != beams.shape or tokens.shape[1] == 1:
        return tokens.shape == beams.shape
    return torch.equal(beams, torch.arange(tokens.shape[1], device=beams.device).expand_as(beams))


def _collect(
    finished: Finished, records: list[Record], lengths: Int[Tensor, " batch"]
) -> list[list[Hypothesis]]:
    """Read the finished hypotheses off the records, all at once."""
    found = finished.scores > -torch.inf
    if not found[:, 0].all():
        raise ValueError(
            "the model gives every token that may be emitted probability 0 (all but PAD and BOS), "
            f"for sentence {int((~found[:, 0]).nonzero()[0])} of the batch"
        )
    sentences = found.nonzero()[:, 0]
    steps = finished.steps[found]
    tokens, rows = follow(records, sentences, steps, finished.slots[found])
    results: list[list[Hypothesis]] = [[] for _ in range(len(lengths))]
    widths = lengths.tolist()
    for h, (i, n, ids, log_prob, score) in enumerate(
        zip(
            sentences.tolist(),
            (steps + 1).tolist(),
            tokens.tolist(),
            finished.log_probs[found].tolist(),
            finished.scores[found].tolist(),
            strict=True,
        )
    ):
        complete = ids[n - 1] == EOS
        results[i].append(
            Hypothesis(
                tokens=tuple(ids[: n - complete]),
                log_prob=log_prob,
                score=score,
                complete=complete,
                attention=None if rows is None else rows[h, :n, : widths[i]].clone(),
            )
        )
    return results
