"""SIGMORPHON 2021 task 1: words to phonemes (Ashby et al. 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qkv.data.families.folder import find
from qkv.data.readers import read_pairs

if TYPE_CHECKING:
    from qkv.config import DataConfig
    from qkv.data.pairs import Pairs


def load(config: DataConfig, split: str) -> Pairs:
    """Read `word<TAB>phonemes`, such as medium/fre_train.tsv, from whichever folder has it."""
    name = f"{config.source}_{split}.tsv"
    places = [f"{size}/{name}" for size in ("high", "medium", "low")]
    return read_pairs((find(config.directory, *places, name),), config.invalid)
