"""Training speed: real target tokens a second, of the recipes whose sizes others are measured at.

    python benchmarks/training.py --data MULTI30K [--names ...] [--precisions float32 bfloat16]
        [--threads 2] [--updates 8] [--rounds 3] [--profile]

An update is all that training does: the batch is put together, forward, backward, clipping, Adam.
The precisions alternate, on the same batches; told are the median and the best of the rounds.
Pads are not counted as tokens.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from qkv.config import Config
from qkv.configfile import load_config
from qkv.folder import RunFolder
from qkv.memory import keep_freed_memory
from qkv.training.distributed import Processes
from qkv.training.log import Reporter
from qkv.training.task import Task, load_task
from qkv.training.trainer import Trainer

RECIPES = Path(__file__).parent.parent / "recipes"
NAMES = ("multi30k-rnnenc", "speed-rnnsearch", "speed-luong", "speed-transformer")
ALONE = Processes(0, 1, torch.device("cpu"))


def config_of(name: str, data: Path, precision: str) -> Config:
    """Return a recipe with the data's place and the type of the matrix products."""
    config = load_config(RECIPES / f"{name}.toml")
    return replace(
        config,
        data=replace(config.data, directory=str(data)),
        training=replace(config.training, precision=precision, max_steps=10**6),
    )


def encoded(config: Config, cache: Path) -> Task:
    """Read and encode the data; the subwords are learned once for each size and kept."""
    folder = RunFolder(cache / f"{config.data.corpus}-{config.text.source.size}")
    folder.path.mkdir(parents=True, exist_ok=True)
    return load_task(config, folder, ALONE, Reporter(speaks=False))


def trainers(given: argparse.Namespace, name: str) -> dict[str, Trainer]:
    """Return a trainer for each precision, all of one recipe and the same data."""
    found = {}
    for precision in given.precisions:
        config = config_of(name, given.data, precision)
        task = encoded(config, given.cache)
        found[precision] = Trainer(config, RunFolder(given.cache / "unused"), task, ALONE)
    return found


def rate(trainer: Trainer, updates: int) -> float:
    """Return the target tokens a second of some updates."""
    before, start = trainer.progress.tokens, time.perf_counter()
    for _ in range(updates):
        trainer.update()
    return (trainer.progress.tokens - before) / (time.perf_counter() - start)


def measured(found: dict[str, Trainer], updates: int, rounds: int) -> dict[str, list[float]]:
    """Return the rates of each way, in turn; the first updates are not counted."""
    for trainer in found.values():
        rate(trainer, 2)
    rates: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(rounds):
        for name, trainer in found.items():
            rates[name].append(rate(trainer, updates))
    return rates


def profile(trainer: Trainer, updates: int) -> None:
    """Print where an update's time goes."""
    rate(trainer, 2)
    with torch.profiler.profile() as profiler:
        rate(trainer, updates)
    print(profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=28))


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--names", nargs="+", default=NAMES)
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--updates", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "qkv-speed")
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.set_flush_denormal(True)
    keep_freed_memory()
    print("| recipe | products | parameters | target tokens/s, median | best |")
    print("| --- | --- | --- | --- | --- |")
    for name in given.names:
        found = trainers(given, name)
        if given.profile:
            for trainer in found.values():
                profile(trainer, given.updates)
            continue
        for precision, rates in measured(found, given.updates, given.rounds).items():
            size = sum(p.numel() for p in found[precision].model.parameters())
            median = statistics.median(rates)
            print(
                f"| {name} | {precision} | {size:,} | {median:,.0f} | {max(rates):,.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
