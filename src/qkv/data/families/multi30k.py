"""Multi30k, task 1: image captions and their translations (Elliott et al. 2016)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qkv.data.families.folder import find
from qkv.data.readers import read_pairs

if TYPE_CHECKING:
    from qkv.config import DataConfig
    from qkv.data.pairs import Pairs

_FILES = {"dev": "val", "test": "test_2016_flickr"}


def load(config: DataConfig, split: str) -> Pairs:
    """Read the raw captions (files such as train.en, or train.en.xz) of two languages."""
    stem = _FILES.get(split, split)
    source = find(config.directory, f"{stem}.{config.source}")
    target = find(config.directory, f"{stem}.{config.target}")
    return read_pairs((source, target), config.invalid)
