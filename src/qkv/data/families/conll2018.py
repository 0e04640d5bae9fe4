"""CoNLL-SIGMORPHON 2018 task 1: morphological inflection (Cotterell et al. 2018).

The source is the lemma's characters, then the tags, each a word: `p o n e r V IND PST 3 SG`; the
target is the form's characters: `p u s o`. Both sides are for the tokeniser `words`, so that a tag
is one symbol. A space inside a lemma or form is written ␣.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qkv.data.families.folder import find
from qkv.data.pairs import Pair, Pairs
from qkv.data.readers import read_columns

if TYPE_CHECKING:
    from qkv.config import DataConfig

_SIZES = ("high", "medium", "low")


def load(config: DataConfig, split: str) -> Pairs:
    """Read `lemma<TAB>form<TAB>tags`; the source `spanish-low` has the low training data."""
    language, _, size = config.source.rpartition("-")
    if size not in _SIZES:
        language, size = config.source, "high"
    name = f"{language}-train-{size}" if split == "train" else f"{language}-{split}"
    rows, report = read_columns(
        find(config.directory, name), ("lemma", "form", "tags"), config.invalid
    )
    pairs = tuple(
        Pair(f"{_letters(lemma)} {' '.join(tags.split(';'))}", _letters(form), line)
        for line, (lemma, form, tags) in rows
    )
    return Pairs(pairs, report)


def _letters(word: str) -> str:
    return " ".join(word.replace(" ", "␣"))
