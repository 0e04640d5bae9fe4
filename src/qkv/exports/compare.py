"""Whether an exported model says the same: greedy search by both, and log-probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from qkv.config import SearchConfig
from qkv.exports.format import Format
from qkv.models.decoder import Decoder
from qkv.run import Run
from qkv.search import search_all
from qkv.search.forced import force
from qkv.text import EOS, SPECIALS, Side

LENGTHS = (1, 2, 3, 5, 8, 13, 4)
"""Tokens of the drawn sources that every export is checked with."""
LONGEST = 17
"""Tokens of their outputs, at most."""
CLOSE = 1e-4
"""How far a log-probability may lie off, beside 1 + its size: measured are 2e-5 at most."""


def compare(
    wanted: Format, run: Run, folder: Path, texts: Sequence[str] = ()
) -> dict[str, float | int]:
    """Decode greedily with both, and return on how many sources they agreed, and how closely.

    Raises:
        ValueError: other tokens, or another log-probability; the source is named.
    """
    sources = [*drawn_sources(run), *(run.source.ids(text) for text in texts)]
    ours = search_ids(run.model, sources, LONGEST, limit=run.model.longest_target)
    known = [one.log_prob for one in force(run.model, sources, ours)]
    theirs = wanted.decode(run, folder, sources, LONGEST)
    scores = wanted.score(run, folder, sources, ours)
    wrong = f"the export to {wanted.name} is wrong and was not kept: for the source"
    for source, own, other in zip(sources, ours, theirs, strict=True):
        if own != other:
            raise ValueError(
                f"{wrong} {spelled(run.source, source)} it gives {spelled(run.target, other)}, "
                f"and the model {spelled(run.target, own)}"
            )
    worst = 0.0
    for source, log_prob, score in zip(sources, known, scores, strict=True):
        off = abs(log_prob - score)
        if not off <= CLOSE * (1 + abs(log_prob)):
            raise ValueError(
                f"{wrong} {spelled(run.source, source)} it gives its output the log-probability "
                f"{score:.6f}, and the model {log_prob:.6f}"
            )
        worst = max(worst, off)
    return {"sources": len(sources), "largest_difference_of_log_prob": worst}


def spelled(side: Side, ids: Sequence[int]) -> str:
    """Return the symbols of some ids in quotes."""
    return repr(" ".join(side.symbols(ids)))


def drawn_sources(run: Run) -> list[list[int]]:
    """Draw sources of several lengths from the vocabulary; the same ones each time."""
    generator = torch.Generator().manual_seed(1)
    first, words = len(SPECIALS), len(run.source.vocabulary)
    longest = (run.model.longest_target or max(LENGTHS) + 1) - 1
    return [
        torch.randint(first, words, (min(size, longest),), generator=generator).tolist()
        for size in LENGTHS
    ]


def search_ids(
    decoder: Decoder, sources: Sequence[Sequence[int]], longest: int, *, limit: int | None
) -> list[tuple[int, ...]]:
    """Search greedily with any decoder, as one batch."""
    search = SearchConfig(method="greedy", max_ratio=0.0, max_extra=longest)
    ids = [[*source, EOS] for source in sources]
    with torch.inference_mode():
        found = search_all(decoder, ids, search, longest=limit)
    return [best.tokens for (best,) in found]
