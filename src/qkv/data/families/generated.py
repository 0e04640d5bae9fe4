"""Toy tasks that need no files: copy a sequence of integers, or turn it round.

Integers 0 to 49 as words; training 40,000 sequences of 1 to 25, dev and test 1,000 each of 1 to
30, so the longest lengths are seen only in the tests. Each split has a fixed seed of its own. Very
short sequences (50 of length 1) stand in several splits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qkv.data.pairs import Pair, Pairs, Report
from qkv.data.randomness import generator

if TYPE_CHECKING:
    from qkv.config import DataConfig

_SIZES = {"train": (40_000, 25), "dev": (1_000, 30), "test": (1_000, 30)}
_SYMBOLS = 50


def load_reverse(config: DataConfig, split: str) -> Pairs:
    """Return `3 14 15` to `15 14 3`."""
    sequences = _sequences("reverse", split)
    return _pairs("reverse", split, [(words, words[::-1]) for words in sequences])


def load_copy(config: DataConfig, split: str) -> Pairs:
    """Return `3 14 15` to `3 14 15`."""
    return _pairs("copy", split, [(words, words) for words in _sequences("copy", split)])


def _sequences(task: str, split: str) -> list[list[str]]:
    count, longest = _SIZES[split]
    random = generator(1, task, split)
    lengths = random.integers(1, longest, size=count, endpoint=True)
    symbols = list(map(str, random.integers(0, _SYMBOLS, size=int(lengths.sum())).tolist()))
    ends = lengths.cumsum().tolist()
    return [symbols[end - n : end] for end, n in zip(ends, lengths.tolist(), strict=True)]


def _pairs(task: str, split: str, both: list[tuple[list[str], list[str]]]) -> Pairs:
    pairs = tuple(
        Pair(" ".join(source), " ".join(target), i) for i, (source, target) in enumerate(both, 1)
    )
    return Pairs(pairs, Report(f"{task} {split}", len(pairs), len(pairs)))
