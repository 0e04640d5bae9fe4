"""JoeyNMT 2.3.0, driven: `python joey.py train|translate DATA WORK a|b|c [THREADS]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from gate import Gate
from joeynmt.batch import Batch
from joeynmt.config import BaseConfig, parse_global_args, set_validation_args
from joeynmt.prediction import prepare
from joeynmt.search import search
from joeynmt.training import TrainManager

WORDS = {"level": "word", "voc_min_freq": 1}  # the files hold pieces with spaces between
NEVER = 1_000_000_000


def recurrent() -> dict:
    """Return size (a): a BiGRU of 256 and a GRU of 512 with input feeding."""
    embedded = {"embeddings": {"embedding_dim": 256}, "rnn_type": "gru", "num_layers": 1}
    fed = {"attention": "bahdanau", "input_feeding": True, "init_hidden": "bridge"}
    return {
        "encoder": {"type": "recurrent", "hidden_size": 256, "bidirectional": True} | embedded,
        "decoder": {"type": "recurrent", "hidden_size": 512} | fed | embedded,
    }


def transformer(width: int, feedforward: int) -> dict:
    """Return four layers and four, every embedding shared."""
    half = {
        "type": "transformer", "num_layers": 4, "num_heads": 4, "hidden_size": width,
        "ff_size": feedforward, "dropout": 0.1, "layer_norm": "pre",
        "embeddings": {"embedding_dim": width, "scale": True},
    }  # fmt: skip
    return {
        "encoder": half, "decoder": half, "tied_embeddings": True, "tied_softmax": True,
        "initializer": "xavier_uniform", "embed_initializer": "xavier_uniform",
    }  # fmt: skip


SIZES = {"a": recurrent(), "b": transformer(256, 1024), "c": transformer(128, 256)}
SENTENCES = {"batch_type": "sentence", "batch_size": 80}
TOKENS = {"batch_type": "token", "batch_size": 4096}


def settings(data: Path, work: Path, size: str) -> BaseConfig:
    """Return its settings: dropout, loss and optimiser as in our recipes."""
    words = (data / "vocabulary.txt").read_text().splitlines()
    kinds = work / "joey-vocabulary.txt"
    kinds.write_text("".join(f"{line.split()[0]}\n" for line in words))
    side = WORDS | {"voc_file": str(kinds)}
    return parse_global_args({
        "name": "bench", "model_dir": str(work / f"joey-{size}"), "use_cuda": False,
        "random_seed": 1,
        "data": {
            "train": str(data / "train"), "dev": str(data / "val"), "dataset_type": "plain",
            "src": {"lang": "en"} | side, "trg": {"lang": "de"} | side,
        },
        "training": (SENTENCES if size == "a" else TOKENS) | {
            "optimizer": "adam", "learning_rate": 5e-4, "learning_rate_min": 0.0,
            "scheduling": "warmupinversesquareroot", "learning_rate_warmup": 400,
            "adam_betas": [0.9, 0.98], "label_smoothing": 0.1, "normalization": "tokens",
            "clip_grad_norm": 1.0, "epochs": NEVER, "logging_freq": NEVER,
            "validation_freq": NEVER,
        },
        "testing": {}, "model": SIZES[size],
    })  # fmt: skip


class Endless:
    """Its batches, epoch after epoch, given while a window is open."""

    def __init__(self, gate: Gate, loader) -> None:
        self.gate, self.loader, self.batch_sampler = gate, loader, loader.batch_sampler

    def batches(self) -> Iterator[Batch]:
        """Give the batches of every epoch."""
        while True:
            yield from self.loader

    def __iter__(self) -> Iterator[Batch]:
        return self.gate.windows(self.batches(), lambda batch: batch.ntokens)


def drive_training(given: BaseConfig) -> None:
    """Train in windows."""
    gate = Gate()
    model, pairs, held_out, _ = prepare(given, rank=0, mode="train")
    gate.tell(parameters=sum(p.numel() for p in model.parameters()))
    manager = TrainManager(
        rank=0, model=model, model_dir=given.model_dir, device=given.device, seed=given.seed,
        autocast=given.autocast, train_args=given.train, dev_args=set_validation_args(given.test),
    )  # fmt: skip
    loader = pairs.make_iter
    pairs.make_iter = lambda **named: Endless(gate, loader(**named))
    manager.train_and_validate(train_data=pairs, valid_data=held_out)


def drive_translation(given: BaseConfig) -> None:
    """Translate when asked, with random weights."""
    gate = Gate()
    model, *_ = prepare(given, rank=0, mode="train")
    model.eval()

    def translate(sentences: list[str], batch: int, beam: int, length: int) -> list[list[str]]:
        order = sorted(range(len(sentences)), key=lambda i: -len(sentences[i].split()))
        found: dict[int, list[str]] = {}
        for start in range(0, len(order), batch):
            some = order[start : start + batch]
            out, *_ = search(
                model=model, batch=padded(model, [sentences[i].split() for i in some]),
                max_output_length=length, min_output_length=length, beam_size=beam,
                beam_alpha=-1, n_best=1, autocast=given.autocast,
            )  # fmt: skip
            tokens = model.trg_vocab.arrays_to_sentences(out, cut_at_eos=False, skip_pad=False)
            found |= zip(some, tokens, strict=True)
        return [found[i] for i in range(len(sentences))]

    gate.tell(parameters=sum(p.numel() for p in model.parameters()))
    gate.calls(translate)


def padded(model, sentences: list[list[str]]) -> Batch:
    """Return one of its batches."""
    ids, lengths, _ = model.src_vocab.sentences_to_ids(sentences, bos=False, eos=True)
    return Batch(
        src=torch.tensor(ids), src_length=torch.tensor(lengths), src_prompt_mask=None, trg=None,
        trg_prompt_mask=None, indices=torch.arange(len(ids)), device=torch.device("cpu"),
        pad_index=model.pad_index, eos_index=model.eos_index, is_train=False,
    )  # fmt: skip


def main() -> None:
    """Do what is asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("train", "translate"))
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("threads", type=int, nargs="?", default=2)
    said = parser.parse_args()
    torch.set_num_threads(said.threads)
    said.work.mkdir(parents=True, exist_ok=True)
    given = settings(said.data, said.work, said.size)
    given.model_dir.mkdir(exist_ok=True)
    {"train": drive_training, "translate": drive_translation}[said.what](given)


if __name__ == "__main__":
    main()
