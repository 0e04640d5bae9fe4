"""The Greek New Testament with its English translation and manual word alignment (Clear Bible).

A line is `verse<TAB>Greek<TAB>English<TAB>links`; the pairs are the two texts. `qkv align --gold`
reads the same file with its links.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qkv.data.families.folder import find
from qkv.data.pairs import Pair, Pairs
from qkv.data.readers import read_columns

if TYPE_CHECKING:
    from qkv.config import DataConfig

_COLUMNS = ("verse", "grc", "en", "links")
_DIRECTIONS = (("grc", "en"), ("en", "grc"))


def load(config: DataConfig, split: str) -> Pairs:
    """Read the verses of a split, in either direction."""
    if (config.source, config.target) not in _DIRECTIONS:
        raise ValueError(
            f"data.source = {config.source!r} and data.target = {config.target!r}: "
            "bible-grc-en has the languages grc and en; name each once"
        )
    file = find(config.directory, f"{split}.tsv")
    rows, report = read_columns(file, _COLUMNS, config.invalid)
    source, target = _COLUMNS.index(config.source), _COLUMNS.index(config.target)
    pairs = tuple(Pair(row[source], row[target], line) for line, row in rows)
    return Pairs(pairs, report)
