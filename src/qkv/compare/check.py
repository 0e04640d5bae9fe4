"""What can be known to be wrong before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qkv.compare.record import Question, answered
from qkv.compare.variants import Variant
from qkv.config import Config, DataConfig
from qkv.config.models import usual_metrics
from qkv.folder import RunFolder


def default_metrics(config: Config) -> tuple[str, ...]:
    """Return the metric that the config is trained for, or else those of its corpus."""
    from qkv.data import CORPORA

    if config.training.metric != "loss":
        return (config.training.metric,)
    corpus = CORPORA.get(config.data.corpus)
    return corpus.metrics if corpus else usual_metrics(config.model)


def check(variants: Sequence[Variant], folder: Path, question: Question) -> None:
    """Look at all that the variants will need.

    Raises:
        ValueError: a metric is unknown or its package missing, gold links or pairs cannot be read,
            the folder is no place for these runs, or a model cannot be built.
    """
    from qkv.evaluate import evaluate, pair_texts, read_gold

    if question.show < 0:
        raise ValueError(f"{question.show} pairs to draw; give a number from 0")
    if (folder / "config.json").exists():
        raise ValueError(f"{folder} is itself the folder of a run; give another --out")
    evaluate(["a trial"], ["a trial"], question.metrics)
    if question.gold:
        pair_texts(read_gold(question.gold), question.gold)
    waiting = [
        variant
        for variant in variants
        if answered(folder / variant.folder, variant.config, question) is None
    ]
    for variant in waiting:
        RunFolder(folder / variant.folder).check(variant.config)
    _check_data({variant.config.data for variant in waiting}, question.split)
    for variant in waiting:
        _build(variant)


def _check_data(configs: set[DataConfig], split: str) -> None:
    from qkv.data import load_pairs

    for config in configs:
        for name in {"dev", split}:
            load_pairs(config, name)


def _build(variant: Variant) -> None:
    """Build the variant's model, once, for a vocabulary of any size.

    In earnest, not on torch's "meta" device: a part may draw or decompose numbers as it is built.
    """
    import torch

    from qkv.models.build import build_model

    config = variant.config
    try:
        with torch.random.fork_rng(devices=[]):
            build_model(config.model, 8, 8, shared=config.text.shared)
    except ValueError as error:
        raise ValueError(f"variant {variant.label}: {error}") from error
