"""Numbers about a trained model: of its outputs, its alignments and its dev set."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

from tqdm import tqdm

from qkv.config import SearchConfig
from qkv.data import Pairs, encode_pairs
from qkv.evaluate import AlignmentError, Evaluation, Gold, aer, evaluate
from qkv.explain import align_words
from qkv.run import Run
from qkv.training.labels import refuse_unknown
from qkv.training.objective import objective_of
from qkv.training.validate import cross_entropy


def measure(
    run: Run,
    pairs: Pairs,
    metrics: Sequence[str],
    *,
    search: SearchConfig | None = None,
    by_length: bool = False,
    by_label: bool = False,
) -> tuple[list[str], Evaluation]:
    """Ask the model about the pairs' sources, and return its outputs and their scores.

    Raises:
        ValueError: a model of labels was trained without one that a pair has.
    """
    if run.network.predicts != "sequence":
        refuse_unknown(run.target, pairs)
    bar = tqdm(total=len(pairs), unit=" sources", leave=False, disable=not sys.stderr.isatty())
    with bar:
        outputs = objective_of(run.network).outputs(
            run.network,
            (run.source, run.target),
            pairs.sources,
            search or run.config.search,
            bar.update,
        )
    references = [list(pair.references) for pair in pairs]
    sources = pairs.sources if by_length else None
    return outputs, evaluate(outputs, references, metrics, sources, by_label=by_label)


def perplexity(run: Run, pairs: Pairs) -> float:
    """Return exp of the mean -log p of a target token or a label, as in training."""
    examples = encode_pairs(pairs.pairs, run.source, run.target, spelled=run.network.spelled)
    device = next(run.network.parameters()).device
    nats = cross_entropy(run.network, examples, run.config.data.tokens_per_batch, device)
    return math.exp(min(nats, 50.0))


def alignment_error(
    run: Run, texts: tuple[list[str], list[str]], gold: list[Gold]
) -> AlignmentError:
    """Align known pairs, each target word to the source word it attends to most, and count."""
    predicted = []
    for start in range(0, len(gold), 512):
        sources, targets = (side[start : start + 512] for side in texts)
        for found in run.force(sources, targets):
            assert found.attention is not None
            links = align_words(found.attention, found.source, found.target).links
            predicted.append({(link.source, link.target) for link in links})
    return aer(predicted, [one.sure for one in gold], [one.possible for one in gold])


def parameters(run: Run) -> int:
    """Return how many numbers were learnt."""
    return sum(parameter.numel() for parameter in run.network.parameters())
