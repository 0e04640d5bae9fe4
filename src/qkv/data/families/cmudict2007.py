"""CMUdict in the split that published results use (Pronalsyl 2007; also called g014b2b).

12,000 test words with all their pronunciations, and 106,837 training words, of which the usual
development set is 2,670; which ones was never published, so a word's hash decides here (2.5 %).
Words are lower-cased; there is no stress. A test word counts as right if it matches any reference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qkv.data.families.folder import find
from qkv.data.families.splits import position
from qkv.data.pairs import Pair, Pairs, one_a_source
from qkv.data.readers import read_columns

if TYPE_CHECKING:
    from qkv.config import DataConfig

_DEV = 0.025


def load(config: DataConfig, split: str) -> Pairs:
    """Read g014b2b.train (`WORD<TAB>PRON`) or g014b2b.ref (`WORD<TAB>PRON[<TAB>PRON ...]`)."""
    file = find(config.directory, "g014b2b.ref" if split == "test" else "g014b2b.train")
    rows, report = read_columns(file, ("word", "phonemes"), config.invalid, repeat_last=True)
    pairs = [Pair(row[0].lower(), row[1], line, row[1:]) for line, row in rows]
    if split != "test":
        pairs = [pair for pair in pairs if (_place(pair.source) < _DEV) == (split == "dev")]
    if split == "dev":
        pairs = sorted(one_a_source(pairs), key=lambda pair: _place(pair.source))
    report.origin += f" ({split})"
    report.kept = len(pairs)
    return Pairs(tuple(pairs), report)


def _place(word: str) -> float:
    return position(word, "cmudict-2007")
