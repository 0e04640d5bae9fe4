"""The Greek New Testament with its English translation and manual word alignment (Clear Bible).

A line is `verse<TAB>Greek<TAB>English<TAB>links`; a pair is the two texts and the links between
their words. `qkv align --gold` reads the same file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qkv.data.families.folder import find
from qkv.data.links import check_links, read_links
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
    pairs = []
    for line, row in rows:
        _, links = read_links(row[-1], f"{file}:{line}")
        if config.source == "en":
            links = frozenset((j, i) for i, j in links)
        check_links(links, row[source], row[target], f"{file}:{line}")
        pairs.append(Pair(row[source], row[target], line, links=links))
    return Pairs(tuple(pairs), report)
