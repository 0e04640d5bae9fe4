"""qkv, driven as the peers are: `python ours.py MULTI30K WORK RECIPE THREADS PRECISION`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch
from gate import Gate

from qkv.configfile import load_config
from qkv.folder import RunFolder
from qkv.memory import keep_freed_memory
from qkv.training.distributed import Processes
from qkv.training.log import Reporter
from qkv.training.task import load_task
from qkv.training.trainer import Trainer


def drive_training(corpus: Path, work: Path, recipe: Path, precision: str) -> None:
    """Train in windows of whole updates."""
    gate, config = Gate(), load_config(recipe)
    config = replace(
        config,
        data=replace(config.data, directory=str(corpus)),
        training=replace(config.training, max_steps=10**6, epochs=10**4, precision=precision),
    )
    folder, alone = (
        RunFolder(work / f"{recipe.stem}-{precision}"),
        Processes(0, 1, torch.device("cpu")),
    )
    folder.path.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(
        config, folder, load_task(config, folder, alone, Reporter(speaks=False)), alone
    )
    gate.tell(parameters=sum(p.numel() for p in trainer.model.parameters()))

    def updates():
        while True:
            before = trainer.progress.tokens
            trainer.update()
            yield trainer.progress.tokens - before

    for _ in gate.windows(updates(), lambda tokens: tokens):
        pass  # the update is done by the time that its tokens are told


if __name__ == "__main__":
    keep_freed_memory()  # as `qkv train` does
    torch.set_num_threads(int(sys.argv[4]))
    torch.set_flush_denormal(True)
    drive_training(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[5])
