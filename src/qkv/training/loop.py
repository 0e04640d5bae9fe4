"""The training loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from qkv.config import Config
from qkv.folder import RunFolder
from qkv.training.distributed import processes
from qkv.training.log import JsonLines, Reporter, TensorBoard, Writer
from qkv.training.task import load_task
from qkv.training.trainer import Trainer


def train(config: Config, path: Path, *, quiet: bool = False) -> dict[str, Any]:
    """Fit the model of a config and leave a run folder; a killed run goes on where it was.

    Returns: the last record: the step, which weights were kept, and their dev metric.

    Raises:
        ValueError: the config, the data, or what the folder already holds is wrong.
    """
    if config.training.threads:
        torch.set_num_threads(config.training.threads)
    torch.set_flush_denormal(True)
    folder = RunFolder(path)
    with processes() as group, Reporter(speaks=group.leads and not quiet) as reporter:
        if group.leads:
            folder.open(config)
        group.wait()
        trainer = Trainer(config, folder, load_task(config, folder, group, reporter), group)
        size = sum(parameter.numel() for parameter in trainer.model.parameters())
        reporter.say(f"{config.model.kind}: {size:,} parameters on {group.device}")
        if trainer.resume():
            reporter.say(f"going on from step {trainer.progress.step} of {folder.checkpoint}")
        writers = open_writers(config, folder, trainer.progress.step) if group.leads else []

        while not ended(trainer):
            trainer.update()
            step = trainer.progress.step
            reporter.update(trainer.share(), trainer.progress.seconds, trainer.facts())
            over = trainer.share() >= 1
            every = config.training.evaluate_every
            if (step % every == 0) if every else (trainer.progress.position == 0) or over:
                record = trainer.record() | trainer.evaluate()
                write(writers, record)
                reporter.say(describe(record, better=trainer.progress.stale == 0))
                trainer.save()
            elif step % config.training.checkpoint_every == 0:
                trainer.save()

        if trainer.progress.best_step == 0:  # not one evaluation fell into the limits
            write(writers, trainer.record() | trainer.evaluate())
        final = trainer.finish()
        write(writers, final)
        reporter.say(f"done: {final}; the model is in {folder.path}")
        return final


def ended(trainer: Trainer) -> bool:
    """Whether a limit or the patience is used up; all processes get the same answer."""
    patience = trainer.settings.patience
    return trainer.share() >= 1 or bool(patience and trainer.progress.stale >= patience)


def open_writers(config: Config, folder: RunFolder, step: int) -> list[Writer]:
    """Open what the history goes to."""
    lines = JsonLines(folder.metrics)
    lines.cut_after(step)
    writers: list[Writer] = [lines]
    if config.training.tensorboard:
        writers.append(TensorBoard(folder.path / "tensorboard"))
    return writers


def write(writers: list[Writer], record: dict[str, Any]) -> None:
    """Write a record to all of them."""
    for writer in writers:
        writer.write(record)


def describe(record: dict[str, Any], *, better: bool) -> str:
    """Say an evaluation in a line."""
    numbers = "  ".join(f"{k} {v:.4g}" for k, v in record.items() if k.startswith("dev_"))
    return (
        f"step {record['step']}  loss {record['loss']:.4f}  {numbers}  "
        f"{record['tokens_per_second']:,.0f} tokens/s{'  (best)' if better else ''}"
    )
