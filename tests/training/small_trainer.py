"""A trainer without its loop, for tests of single updates."""

from __future__ import annotations

from pathlib import Path

import torch

from qkv.config import Config
from qkv.folder import RunFolder
from qkv.training.distributed import Processes
from qkv.training.log import Reporter
from qkv.training.task import load_task
from qkv.training.trainer import Trainer

ALONE = Processes(0, 1, torch.device("cpu"))


def build_trainer(config: Config, path: Path, group: Processes = ALONE) -> Trainer:
    folder = RunFolder(path)
    folder.open(config)
    task = load_task(config, folder, group, Reporter(speaks=False))
    return Trainer(config, folder, task, group)


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in trainer.model.named_parameters()}
