"""How good a model is on the development set."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from qkv.config import Config
from qkv.data import Examples, collate, sorted_batches
from qkv.data.pairs import Pair
from qkv.evaluate import evaluate
from qkv.models.model import EncoderDecoder
from qkv.search.translate import translate
from qkv.training.loss import SequenceLoss
from qkv.training.task import Task


def measure(
    model: EncoderDecoder, task: Task, config: Config, device: torch.device
) -> dict[str, float]:
    """Return the dev loss (nats a token) and perplexity, and the metric that the config asks for.

    The metric is computed by the same function as `qkv evaluate`, on detokenised text.
    """
    nats = cross_entropy(model, task.dev, config.data.tokens_per_batch, device)
    values = {"loss": nats, "perplexity": math.exp(min(nats, 50.0))}
    if config.training.metric != "loss":
        pairs = task.dev_pairs[: config.training.dev_limit]
        values[config.training.metric] = score(model, task, pairs, config)
    return values


def cross_entropy(
    model: EncoderDecoder, examples: Examples, tokens_per_batch: int, device: torch.device
) -> float:
    """Return the mean -log p of a target token (end symbols included), in nats.

    The model is in eval mode.
    """
    with torch.inference_mode():
        loss = SequenceLoss(model, 0.0)
        total, tokens = 0.0, 0
        for rows in sorted_batches(examples.lengths, tokens_per_batch):
            batch = collate(examples, rows).to(device)
            _, plain = loss(batch.source, batch.source_lengths, batch.target_in, batch.target_out)
            total += float(plain)
            tokens += int(batch.target_lengths.sum())
    return total / tokens


def score(model: EncoderDecoder, task: Task, pairs: Sequence[Pair], config: Config) -> float:
    """Translate some pairs' sources and return the config's metric."""
    found = translate(
        model, task.source, task.target, [pair.source for pair in pairs], config.search
    )
    hypotheses = [translations[0].text for translations in found]
    references = [list(pair.references) for pair in pairs]
    metric = config.training.metric
    return evaluate(hypotheses, references, [metric])[metric].value
