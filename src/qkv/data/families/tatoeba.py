"""Tatoeba's English-French pairs, as ManyThings gives them out for Anki.

No split is published. An English sentence stands on several lines with different translations, so
its hash decides the split of all of them (2 % dev, 2 % test); sentences that differ in case or
final punctuation alone go together. dev and test have one pair an English sentence with all its
translations as references, in the order of the hash, as the file is sorted by length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qkv.data.families.folder import find
from qkv.data.families.splits import position
from qkv.data.pairs import Pairs, one_a_source
from qkv.data.readers import read_pairs

if TYPE_CHECKING:
    from qkv.config import DataConfig

_RANGES = {"test": (0.0, 0.02), "dev": (0.02, 0.04), "train": (0.04, 1.0)}


def load(config: DataConfig, split: str) -> Pairs:
    """Read fra.txt: `English<TAB>French`."""
    read = read_pairs((find(config.directory, "fra.txt"),), config.invalid)
    first, last = _RANGES[split]
    chosen = [pair for pair in read if first <= place(pair.source) < last]
    if split != "train":
        chosen = sorted(one_a_source(chosen), key=lambda pair: place(pair.source))
    read.report.origin += f" ({split})"
    read.report.kept = len(chosen)
    return Pairs(tuple(chosen), read.report)


def place(sentence: str) -> float:
    """Return where in [0, 1) an English sentence falls; case and final marks do not count."""
    return position(sentence.casefold().strip(" .!?"), "tatoeba")
