"""The training loop."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qkv.config import Config
from qkv.files import locked
from qkv.folder import RunFolder
from qkv.memory import keep_freed_memory
from qkv.training.distributed import processes
from qkv.training.log import JsonLines, Reporter, TensorBoard, Writer
from qkv.training.task import load_task
from qkv.training.trainer import Trainer


def train(
    config: Config,
    path: Path,
    *,
    quiet: bool = False,
    prepare: Callable[[nn.Module], None] = lambda _model: None,
) -> dict[str, Any]:
    """Fit the model of a config and leave a run folder; a killed run goes on where it was.

    prepare: called with the new model, before its first update: to fix a part of it, say.

    Returns: the last record: the step, which weights were kept, and their dev metric.

    Raises:
        ValueError: the config, the data, or what the folder already holds is wrong.
    """
    if config.training.threads:
        torch.set_num_threads(config.training.threads)
    torch.set_flush_denormal(True)
    keep_freed_memory()
    folder = RunFolder(path)
    with (
        processes() as group,
        locked(path) if group.leads else nullcontext(),
        Reporter(speaks=group.leads and not quiet) as reporter,
    ):
        if group.leads:
            folder.open(config)
        group.wait()
        trainer = Trainer(config, folder, load_task(config, folder, group, reporter), group)
        prepare(trainer.model)
        size = sum(parameter.numel() for parameter in trainer.model.parameters())
        reporter.say(f"{config.model.kind}: {size:,} parameters on {group.device}")
        if trainer.resume():
            reporter.say(f"going on from step {trainer.progress.step} of {folder.checkpoint}")
        writers = open_writers(config, folder, trainer.progress.step) if group.leads else []

        while not trainer.ended():
            trainer.update()
            reporter.update(trainer.share(), trainer.progress.seconds, trainer.facts())
            if trainer.due():
                evaluate(trainer, writers, reporter)
                trainer.save()
            elif trainer.progress.step % config.training.checkpoint_every == 0:
                trainer.save()

        if trainer.progress.best is None:  # the limits were lowered below the first evaluation
            evaluate(trainer, writers, reporter)
        final = trainer.finish()
        write(writers, final)
        reporter.say(f"done: {say(final)}; the model is in {folder.path}")
        return final


def evaluate(trainer: Trainer, writers: list[Writer], reporter: Reporter) -> None:
    """Measure the dev set, and say and keep what was found."""
    record = trainer.record() | trainer.evaluate()
    write(writers, record)
    reporter.say(say(record) + ("  (best)" if trainer.progress.stale == 0 else ""))


def open_writers(config: Config, folder: RunFolder, step: int) -> list[Writer]:
    """Open what the history goes to."""
    lines = JsonLines(folder.metrics)
    lines.cut_after(step)
    writers: list[Writer] = [lines]
    if config.training.tensorboard:
        writers.append(TensorBoard(folder.path / "tensorboard", step))
    return writers


def write(writers: list[Writer], record: dict[str, Any]) -> None:
    """Write a record to all of them."""
    for writer in writers:
        writer.write(record)


def say(record: dict[str, Any]) -> str:
    """Say a record in a line."""
    numbers = {k: _in_words(v) for k, v in record.items()}
    return "  ".join(f"{name} {number}" for name, number in numbers.items())


def _in_words(value: Any) -> str:
    match value:
        case float():
            return f"{value:,.5g}"
        case list():
            return ", ".join(map(str, value))
    return str(value)
