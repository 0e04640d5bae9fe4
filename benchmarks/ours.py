"""qkv, driven as the peers are.

python ours.py train MULTI30K WORK RECIPE PRECISION THREADS
python ours.py decode PRECISION WORKERS THREADS
"""

from __future__ import annotations

import sys
import zlib
from dataclasses import replace
from pathlib import Path

import torch
from decoding import VOCABULARY, decode, forbid_end, padded, random_model
from gate import Gate
from work import weights

from qkv.config import SearchConfig
from qkv.configfile import load_config
from qkv.folder import RunFolder
from qkv.memory import keep_freed_memory
from qkv.text import EOS
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
    tell_size(gate, trainer.model)

    def updates():
        while True:
            before = trainer.progress.tokens
            trainer.update()
            yield trainer.progress.tokens - before

    for _ in gate.windows(updates(), lambda tokens: tokens):
        pass  # the update is done by the time that its tokens are told


def drive_decoding(precision: str, workers: int) -> None:
    """Search with size (b), random weights: a source's tokens become ids by their spelling."""
    gate, model = Gate(), random_model()
    forbid_end(model)
    decoder = model.ready(precision)

    def translate(sentences: list[str], batch: int, beam: int, length: int) -> list[list[str]]:
        ids = [[*map(number, sentence.split()), EOS] for sentence in sentences]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]), reverse=True)
        config = SearchConfig(
            method="greedy" if beam == 1 else "beam", beam=beam, max_ratio=0.0, max_extra=length
        )
        batches = [
            padded([ids[i] for i in order[start : start + batch]])
            for start in range(0, len(order), batch)
        ]
        found = [one for some in decode(decoder, batches, config, workers) for one in some]
        texts = [[str(token) for token in tokens] for tokens in found]
        return [text for _, text in sorted(zip(order, texts, strict=True))]

    tell_size(gate, model)
    gate.calls(translate)


def tell_size(gate: Gate, model: torch.nn.Module) -> None:
    """Tell how much there is to train, and to multiply with."""
    gate.tell(parameters=sum(p.numel() for p in model.parameters()), matrices=weights(model))


def number(token: str) -> int:
    """Return an id that is no special's."""
    return 4 + zlib.crc32(token.encode()) % (VOCABULARY - 4)


if __name__ == "__main__":
    keep_freed_memory()  # as the command line does
    what, *given, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    torch.set_flush_denormal(True)
    if what == "train":
        drive_training(*map(Path, given[:3]), given[3])
    else:
        drive_decoding(given[0], int(given[1]))
