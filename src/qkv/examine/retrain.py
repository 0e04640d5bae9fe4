"""The run's model, trained again by its own config: with another seed, or fixed attention."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from qkv.config import ClassifierConfig, Config, HierarchicalConfig, ModelConfig
from qkv.configfile import config_tree
from qkv.data import load_pairs
from qkv.explain.faithfulness.material import Attention
from qkv.folder import RunFolder
from qkv.models.build import build_model
from qkv.models.labeller import Labeller
from qkv.models.pooling import Pooling
from qkv.models.weights import load_parameters, load_tensors
from qkv.run import Run
from qkv.training.loop import train


@dataclass(frozen=True)
class Retrainer:
    """Trains models of a run's config, each in a folder of its own; what is done is not redone.

    A folder is named by all that decides its weights: attention, seed, config and training data.
    """

    run: Run
    folder: Path

    @cached_property
    def key(self) -> str:
        """A short hash of the run's config and of the pairs that it names, as they are now."""
        hashed = hashlib.sha256(json.dumps(config_tree(self.run.config), sort_keys=True).encode())
        for split in ("train", "dev"):
            for pair in load_pairs(self.run.config.data, split):
                hashed.update(f"{pair.source}\t{pair.target}\n".encode())
        return hashed.hexdigest()[:12]

    def __call__(self, seed: int, attention: Attention) -> Labeller:
        """See `qkv.explain.faithfulness.material.Retrain`."""
        config = self.run.config
        config = replace(config, training=replace(config.training, seed=seed))
        folder = RunFolder(self.folder / f"{attention}-{seed}-{self.key}")
        prepare = PREPARE[attention]
        if not folder.weights.exists():
            train(config, folder.path, prepare=prepare)
        model = _model(self.run, config)
        prepare(model)
        load_parameters(model, load_tensors(folder.weights)[0], folder.weights)
        return model.eval()

    def build(self, seed: int, *, context: bool) -> Labeller:
        """See `qkv.explain.faithfulness.material.Build`."""
        config = self.run.config
        torch.manual_seed(seed)
        if not context:
            config = replace(config, model=word_by_word(config.model))
        return _model(self.run, config)


def word_by_word(model: ModelConfig) -> ClassifierConfig:
    """Return a model of the same widths that reads each word by itself, and knows no sentences."""
    assert isinstance(model, ClassifierConfig | HierarchicalConfig)
    return ClassifierConfig(
        encoder="projection",
        attention=model.attention,
        embedding=model.embedding,
        hidden=model.hidden,
        dropout=model.dropout,
    )


def as_it_is(model: nn.Module) -> None:
    """Train all of it."""


def at_equal_weights(model: nn.Module) -> None:
    """Keep every energy at 0, and with it every weight the same."""
    for parameter in _of_poolings(model):
        nn.init.zeros_(parameter).requires_grad_(False)


def at_random(model: nn.Module) -> None:
    """Keep the attention at parameters drawn as a linear layer's are: U(-1/sqrt(n), 1/sqrt(n))."""
    for parameter in _of_poolings(model):
        bound = 1 / math.sqrt(parameter.shape[-1])
        nn.init.uniform_(parameter, -bound, bound).requires_grad_(False)


PREPARE = {"own": as_it_is, "uniform": at_equal_weights, "frozen": at_random}


def _of_poolings(model: nn.Module) -> Iterator[nn.Parameter]:
    """Give the parameters of what pools words, and sentences."""
    for part in model.modules():
        if isinstance(part, Pooling):
            yield from part.parameters()


def _model(run: Run, config: Config) -> Labeller:
    sizes = len(run.source.vocabulary), len(run.target.vocabulary)
    model = build_model(config.model, *sizes)
    assert isinstance(model, Labeller)
    model.learn_symbols(run.source.vocabulary.symbols)
    return model.to(next(run.network.parameters()).device)
