"""Corpora, configs and commands that are small enough to train and run in a test."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from qkv.config import Config
from qkv.configfile import make_config
from qkv.data.randomness import generator

SYMBOLS = "abcdefg"

# Each is a few thousand parameters, with dropout, so that resuming must restore its draws.
MODELS: dict[str, dict[str, Any]] = {
    "rnnenc": {"kind": "rnnenc", "embedding": 7, "hidden": 10, "dropout": 0.1},
    "rnnsearch": {
        "kind": "rnnsearch",
        "embedding": 7,
        "hidden": 10,
        "maxout": 6,
        "dropout": 0.1,
    },
    "luong": {"kind": "luong", "embedding": 7, "hidden": 10, "layers": 2, "dropout": 0.1},
    "transformer": {
        "kind": "transformer",
        "width": 12,
        "heads": 3,
        "feedforward": 20,
        "encoder_layers": 1,
        "decoder_layers": 2,
        "dropout": 0.1,
        "attention_dropout": 0.1,
    },
    "hard": {"kind": "hard", "embedding": 7, "hidden": 10, "dropout": 0.1},
    "ntm": {
        "kind": "ntm",
        "embedding": 7,
        "hidden": 10,
        "slots": 9,
        "slot_width": 5,
        "dropout": 0.1,
    },
}

LABELLERS: dict[str, dict[str, Any]] = {
    "classifier": {"kind": "classifier", "embedding": 7, "hidden": 6, "dropout": 0.1},
    "hierarchical": {"kind": "hierarchical", "embedding": 7, "hidden": 5, "dropout": 0.1},
    "tagger": {"kind": "tagger", "embedding": 7, "hidden": 6, "dropout": 0.1},
}


def write_labels(folder: Path, kind: str, *, train: int = 200, test: int = 40) -> Path:
    """Write train.tsv, dev.tsv and test.tsv with a label a text, or (tagger) one a word.

    A text is letters with two full stops, and in one place "up" or "down", which is the label. A
    word's tag says whether it is a mark, and if not which half of the alphabet it is from.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", train), ("dev", test), ("test", test)):
        random = generator(1, "small labels", split)
        lines = []
        for _ in range(count):
            words = [SYMBOLS[i] for i in random.integers(0, len(SYMBOLS), random.integers(2, 8))]
            label = ("up", "down")[int(random.integers(2))]
            words.insert(int(random.integers(len(words) + 1)), label)
            words.insert(int(random.integers(1, len(words) + 1)), ".")
            words.append(".")
            tags = ["MARK" if word == "." else "LOW" if word < "d" else "HIGH" for word in words]
            target = " ".join(tags) if kind == "tagger" else label
            lines.append(f"{' '.join(words)}\t{target}\n")
        (folder / f"{split}.tsv").write_text("".join(lines), encoding="utf-8")
    return folder


def write_corpus(
    folder: Path, *, longest: int = 6, train: int = 90, test: int = 24, names: float = 0.0
) -> Path:
    """Write train.tsv, dev.tsv and test.tsv: letters, and the same backwards.

    names: the share of the letters that give way to words which are hardly ever seen twice.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", train), ("dev", test), ("test", test)):
        random = generator(1, "small reverse", split)
        lines = []
        for _ in range(count):
            length = int(random.integers(1, longest, endpoint=True))
            letters = [SYMBOLS[i] for i in random.integers(0, len(SYMBOLS), size=length)]
            for place in (random.random(length) < names).nonzero()[0]:
                letters[place] = f"name{random.integers(1000)}"
            lines.append(f"{' '.join(letters)}\t{' '.join(reversed(letters))}\n")
        (folder / f"{split}.tsv").write_text("".join(lines), encoding="utf-8")
    return folder


def tree(corpus: Path, model: str = "rnnsearch", **training: Any) -> dict[str, Any]:
    """Return a config as plain values: a small model, a small corpus, a few short epochs."""
    return {
        "data": {
            "train": [str(corpus / "train.tsv")],
            "dev": [str(corpus / "dev.tsv")],
            "test": [str(corpus / "test.tsv")],
            "tokens_per_batch": 60,
        },
        "text": {"source": {"kind": "words"}, "target": {"kind": "words"}},
        "model": dict((MODELS | LABELLERS)[model]),
        "training": {"epochs": 2, "warmup": 3, "learning_rate": 0.01, "threads": 1} | training,
        "search": {"beam": 2, "max_ratio": 1.5, "max_extra": 3},
    }


def small(corpus: Path, model: str = "rnnsearch", **training: Any) -> Config:
    """Return the same as a config."""
    return make_config(tree(corpus, model, **training))


def fit(run: Path, values: dict[str, Any]) -> Path:
    """Train as a config says, in this process, and return the run folder."""
    import torch

    from qkv.training.loop import train

    threads = torch.get_num_threads()
    try:
        train(make_config(values), run, quiet=True)
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)
    return run


def write_toml(path: Path, values: dict[str, Any]) -> Path:
    """Write plain values of two levels of tables (deeper ones inline) as TOML."""
    lines = []
    for name, table in values.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {_toml(value)}" for key, value in table.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _toml(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return "{ " + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + " }"
        case list() | tuple():
            return "[" + ", ".join(map(_toml, value)) + "]"
        case str():
            return f'"{value}"'
    return repr(value)


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it said."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """The lines of standard output."""
        return self.out.splitlines()


def qkv(*words: str | Path, stdin: str | bytes = b"") -> Outcome:
    """Run `qkv WORDS` in this process."""
    from qkv.cli.main import main

    given = stdin.encode() if isinstance(stdin, str) else stdin
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    err = io.StringIO()
    source = io.TextIOWrapper(io.BytesIO(given))
    with patch("sys.stdin", source), redirect_stdout(out), redirect_stderr(err):
        try:
            status: Any = main([str(word) for word in words])
        except SystemExit as exit:
            status = exit.code
    return Outcome(int(status or 0), out.buffer.getvalue().decode(), err.getvalue())  # type: ignore[attr-defined]


def spawn(*words: str | Path, **options: Any) -> subprocess.Popen[str]:
    """Start `python -m qkv WORDS` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "qkv", *map(str, words)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=options.pop("stdout", subprocess.PIPE),
        stderr=options.pop("stderr", subprocess.PIPE),
        text=True,
        **options,
    )
