"""Toy tasks that need no files: copy a sequence of integers, turn it round, or recall a part.

Copy and reverse: integers 0 to 49 as words; training 40,000 sequences of 1 to 25, dev and test
1,000 each of 1 to 30, so the longest lengths are seen only in the tests. Each split has a fixed
seed of its own. Very short sequences (50 of length 1) stand in several splits.

Copy-long and recall are the tasks of Graves, Wayne and Danihelka 2014 (sections 4.1 and 4.3), with
digits in place of binary vectors, and of the same sizes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qkv.data.pairs import Pair, Pairs, Report
from qkv.data.randomness import generator

if TYPE_CHECKING:
    from qkv.config import DataConfig

_COUNTS = {"train": 40_000, "dev": 1_000, "test": 1_000}
_LENGTHS = {"train": (1, 25), "dev": (1, 30), "test": (1, 30)}
_LONG = {"train": (1, 20), "dev": (1, 20), "test": (21, 40)}
_SYMBOLS = 50
_DIGITS = 10
_ITEM = 3
_ITEMS = (2, 6)


def load_reverse(config: DataConfig, split: str) -> Pairs:
    """Return `3 14 15` to `15 14 3`."""
    sequences = _sequences("reverse", split)
    return _pairs("reverse", split, [(words, words[::-1]) for words in sequences])


def load_copy(config: DataConfig, split: str) -> Pairs:
    """Return `3 14 15` to `3 14 15`."""
    return _pairs("copy", split, [(words, words) for words in _sequences("copy", split)])


def load_copy_long(config: DataConfig, split: str) -> Pairs:
    """Return `3 1 4` to `3 1 4`: 1 to 20 digits, but 21 to 40 in the test."""
    sequences = _sequences("copy-long", split, _LONG, _DIGITS)
    return _pairs("copy-long", split, [(words, words) for words in sequences])


def load_recall(config: DataConfig, split: str) -> Pairs:
    """Return `; 3 1 4 ; 1 5 9 ; 2 6 5 ? 3 1 4` to `1 5 9`: which item came after this one?

    2 to 6 items of three digits, all different; the one asked for is any but the last.
    """
    random = generator(1, "recall", split)
    both = []
    for _ in range(_COUNTS[split]):
        count = int(random.integers(*_ITEMS, endpoint=True))
        drawn = random.choice(_DIGITS**_ITEM, size=count, replace=False).tolist()
        items = [list(f"{item:0{_ITEM}}") for item in drawn]
        asked = int(random.integers(count - 1))
        shown = [word for item in items for word in (";", *item)]
        both.append(([*shown, "?", *items[asked]], items[asked + 1]))
    return _pairs("recall", split, both)


def _sequences(
    task: str,
    split: str,
    lengths: dict[str, tuple[int, int]] = _LENGTHS,
    symbols: int = _SYMBOLS,
) -> list[list[str]]:
    random = generator(1, task, split)
    sizes = random.integers(*lengths[split], size=_COUNTS[split], endpoint=True)
    words = list(map(str, random.integers(0, symbols, size=int(sizes.sum())).tolist()))
    ends = sizes.cumsum().tolist()
    return [words[end - n : end] for end, n in zip(ends, sizes.tolist(), strict=True)]


def _pairs(task: str, split: str, both: list[tuple[list[str], list[str]]]) -> Pairs:
    pairs = tuple(
        Pair(" ".join(source), " ".join(target), i) for i, (source, target) in enumerate(both, 1)
    )
    return Pairs(pairs, Report(f"{task} {split}", len(pairs), len(pairs)))
