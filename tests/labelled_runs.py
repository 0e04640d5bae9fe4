"""Texts whose label a keyword says, and a classifier that learns it in a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qkv.data.randomness import generator

NOISE = [f"w{number}" for number in range(12)]


def write_labelled(folder: Path) -> dict[str, list[str]]:
    """Write texts of a few words with a keyword each, and their label; return the splits."""
    files = {}
    for split, count in (("train", 200), ("dev", 40), ("test", 50)):
        random = generator(1, "small labels", split)
        lines = []
        for _ in range(count):
            label = int(random.integers(2))
            words = [NOISE[i] for i in random.integers(0, len(NOISE), random.integers(2, 6))]
            words[random.integers(len(words))] = ("awful", "superb")[label]
            lines.append(f"{' '.join(words)}\t{('bad', 'good')[label]}\n")
        (folder / f"{split}.tsv").write_text("".join(lines), encoding="utf-8")
        files[split] = [str(folder / f"{split}.tsv")]
    return files


def values(corpus: Path) -> dict[str, Any]:
    """Return a config as plain values: a GRU with additive attention on such texts."""
    return {
        "data": write_labelled(corpus) | {"tokens_per_batch": 128},
        "text": {"source": {"kind": "words"}, "target": {"kind": "words"}},
        "model": {
            "kind": "classifier",
            "encoder": "gru",
            "embedding": 8,
            "hidden": 6,
            "dropout": 0.1,
        },
        "training": {
            "epochs": 5,
            "learning_rate": 0.02,
            "warmup": 0,
            "schedule": "constant",
            "threads": 1,
            "average": 1,
            "metric": "accuracy",
        },
    }
