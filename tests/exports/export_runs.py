"""Runs of untrained models: what the tests of exports write and ask."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from qkv.config import Config, ModelConfig
from qkv.config.data import DataConfig
from qkv.configfile import config_tree
from qkv.folder import RunFolder, write_json
from qkv.models.build import build_model
from qkv.models.weights import parameters_of, save_tensors
from qkv.run import Run
from qkv.text import Side, Vocabulary
from qkv.text.words import Words

SOURCE, TARGET = 17, 19


def side(letter: str, size: int) -> Side:
    """Words such as a0, a1, ...; `size` counts the specials."""
    return Side(Words(), Vocabulary(f"{letter}{i}" for i in range(size - 4)))


def run_of(model: ModelConfig, *, shared: bool = False, seed: int = 1) -> Run:
    """A model with noise on every parameter, so that attention is uneven and no bias is zero."""
    source = side("t", TARGET) if shared else side("s", SOURCE)
    target = side("t", TARGET)
    config = Config(data=DataConfig(max_length=20), model=model)
    config = replace(config, text=replace(config.text, shared=shared))
    built = build_model(model, len(source.vocabulary), len(target.vocabulary), shared=shared)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    return Run(config, source, target, built.eval())


def saved(run: Run, path: Path) -> Path:
    """Write a run folder, as a training leaves it."""
    path.mkdir()
    folder = RunFolder(path)
    write_json(folder.config, config_tree(run.config))
    run.source.save(folder.source)
    run.target.save(folder.target)
    facts = {
        "config": folder.digest,
        "source": run.source.digest,
        "target": run.target.digest,
    }
    save_tensors(parameters_of(run.model), folder.weights, facts)
    return path
