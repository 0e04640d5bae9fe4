"""Training speed: real target tokens a second, of the recipes whose sizes others are measured at.

    python benchmarks/training.py [--data MULTI30K] [--names ...] [--precisions float32 bfloat16]
        [--threads 2] [--updates 8] [--rounds 3] [--profile]

An update is all that training does: the batch is put together, forward, backward, clipping, Adam.
The precisions alternate, on the same batches; told are median and spread of the rounds. Pads are
not counted as tokens. Without data: 3,000 pairs of random words, as long as captions are.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch
from limits import limits
from report import RESULTS, result, save
from rounds import summary
from work import limit, of_training, weights

from qkv.config import Config, TokenizerConfig
from qkv.configfile import load_config
from qkv.folder import RunFolder
from qkv.memory import keep_freed_memory
from qkv.training.distributed import Processes
from qkv.training.log import Reporter
from qkv.training.task import Task, load_task
from qkv.training.trainer import Trainer

RECIPES = Path(__file__).parent.parent / "recipes"
NAMES = ("multi30k-rnnenc", "speed-rnnsearch", "speed-luong", "speed-transformer")
VOCABULARY = 7744
ALONE = Processes(0, 1, torch.device("cpu"))


def config_of(name: str, given: argparse.Namespace, precision: str) -> Config:
    """Return a recipe with the data's place and the type of the matrix products."""
    config = load_config(RECIPES / f"{name}.toml")
    trained = replace(config.training, precision=precision, max_steps=10**6, epochs=10**4)
    config = replace(config, training=trained)
    if given.data:
        return replace(config, data=replace(config.data, directory=str(given.data)))
    pairs = (str(generated(given.cache / "pairs.tsv")),)
    named = {"corpus": "", "directory": "", "source": "", "target": ""}
    data = replace(config.data, **named, train=pairs, dev=pairs)
    words = TokenizerConfig(kind="words", size=VOCABULARY)
    return replace(config, data=data, text=replace(config.text, source=words, target=words))


def generated(path: Path) -> Path:
    """Write pairs of random words, every word of the vocabulary among them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = torch.Generator().manual_seed(1)
    lengths = (13 + 4 * torch.randn(6000, generator=random)).round().clamp(3, 34).long().tolist()
    drawn = torch.randint(VOCABULARY, (sum(lengths),), generator=random).tolist()
    drawn[:VOCABULARY] = range(VOCABULARY)
    words = (f"w{number}" for number in drawn)
    sides = [" ".join(islice(words, length)) for length in lengths]
    lines = [f"{a}\t{b}\n" for a, b in zip(sides[::2], sides[1::2], strict=True)]
    path.write_text("".join(lines))
    return path


def encoded(config: Config, cache: Path) -> Task:
    """Read and encode the data; the subwords are learned once for each size and kept."""
    folder = RunFolder(cache / f"{config.data.corpus or 'random'}-{config.text.source.size}")
    folder.path.mkdir(parents=True, exist_ok=True)
    return load_task(config, folder, ALONE, Reporter(speaks=False))


def trainers(given: argparse.Namespace, name: str) -> dict[str, Trainer]:
    """Return a trainer for each precision, all of one recipe and the same data."""
    found = {}
    for precision in given.precisions:
        config = config_of(name, given, precision)
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


def rows_of(name: str, given: argparse.Namespace, rates: dict) -> list[dict]:
    """Measure one recipe."""
    found, rows = trainers(given, name), []
    for precision, taken in measured(found, given.updates, given.rounds).items():
        trainer = found[precision]
        costs = of_training(weights(trainer.model), *trainer.task.train.lengths.mean(0), precision)
        way = f"qkv, {precision} products"
        row = {"task": name, "way": way, "unit": "tokens/s", **summary(taken)}
        rows.append(row | limit(costs, rates))
        size = sum(p.numel() for p in trainer.model.parameters())
        print(f"{name:22} {size:12,} {way:26} {row['median']:8,.0f} tokens/s", flush=True)
    return rows


def main() -> None:
    """Measure, and leave a result; a recipe that fails does not lose the others."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--names", nargs="+", default=NAMES)
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--updates", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "qkv-speed")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.set_flush_denormal(True)
    keep_freed_memory()
    if given.profile:
        for name in given.names:
            for trainer in trainers(given, name).values():
                profile(trainer, given.updates)
        return
    rates, rows, skipped = limits(), [], []
    for name in given.names:
        try:
            rows += rows_of(name, given, rates)
        except (RuntimeError, ValueError) as why:
            skipped.append(f"{name}: {why}")
            print(skipped[-1], file=sys.stderr)
    found = result("Training, all models", given.threads, rates, rows=rows, skipped=skipped)
    print(save(given.results / "training-ours.json", found))


if __name__ == "__main__":
    main()
