"""How good a model is on the development set."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from qkv.config import Config
from qkv.data import Examples, collate, sorted_batches
from qkv.data.pairs import Pair
from qkv.evaluate import evaluate
from qkv.models.model import Model
from qkv.training.objective import objective_of
from qkv.training.task import Task


def measure(model: Model, task: Task, config: Config, device: torch.device) -> dict[str, float]:
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
    model: Model, examples: Examples, tokens_per_batch: int, device: torch.device
) -> float:
    """Return the mean -log p of a target token (end symbols included) or a label, in nats.

    The model is in eval mode.
    """
    objective = objective_of(model)
    counts = objective.counts(examples)
    with torch.inference_mode():
        loss = objective.loss(model, 0.0)
        total, tokens = 0.0, 0
        for rows in sorted_batches(examples.lengths, tokens_per_batch):
            batch = collate(examples, rows).to(device)
            _, plain = loss(batch.source, batch.source_lengths, batch.target_in, batch.target_out)
            total += float(plain)
            tokens += int(counts[rows].sum())
    return total / tokens


def score(model: Model, task: Task, pairs: Sequence[Pair], config: Config) -> float:
    """Ask the model about some pairs' sources and return the config's metric."""
    sources = [pair.source for pair in pairs]
    sides = (task.source, task.target)
    hypotheses = objective_of(model).outputs(model, sides, sources, config.search)
    references = [list(pair.references) for pair in pairs]
    metric = config.training.metric
    return evaluate(hypotheses, references, [metric])[metric].value
