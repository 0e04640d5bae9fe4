"""Corpora whose words are linked by hand: a line is `source<TAB>target<TAB>links`.

A name of the pair (a verse, a sentence id) may stand before. Links are `i-j` (sure) and `ipj`
(possible), from 0; a pair has the two texts and the links between their words, in the direction
that is asked for. `qkv align --gold` reads the same files.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from qkv.data.families.folder import find
from qkv.data.links import check_links, read_links
from qkv.data.pairs import Pair, Pairs
from qkv.data.readers import read_columns, read_lines

if TYPE_CHECKING:
    from qkv.config import DataConfig


def load_bible(config: DataConfig, split: str) -> Pairs:
    """Read the verses of a split of the Greek New Testament (Clear Bible): Greek, then English."""
    if {config.source, config.target} != {"grc", "en"}:
        raise ValueError(
            f"data.source = {config.source!r} and data.target = {config.target!r}: "
            "bible-grc-en has the languages grc and en; name each once"
        )
    file = find(config.directory, f"{split}.tsv")
    return _pairs(file, turned=config.source == "en", invalid=config.invalid)


def load_gold(config: DataConfig, split: str) -> Pairs:
    """Read gold links from enfr.tsv or en-fr.tsv, which are tests, or from en-fr.SPLIT.tsv.

    The two languages may be named in either order, whichever comes first in the file.
    """
    ways = ((config.source, config.target), (config.target, config.source))
    names = [f"{a}-{b}.{split}.tsv" for a, b in ways]
    if split == "test":
        names += [f"{a}{between}{b}.tsv" for between in ("", "-") for a, b in ways]
    file = find(config.directory, *names)
    turned = not Path(file).name.startswith(config.source)
    return _pairs(file, turned=turned, invalid=config.invalid)


def _pairs(file: str, *, turned: bool, invalid: Literal["refuse", "skip"]) -> Pairs:
    columns = ("name", "source", "target", "links")
    named = next(read_lines(file), "").count("\t") == 3
    rows, report = read_columns(file, columns if named else columns[1:], invalid)
    pairs = []
    for line, (*_, source, target, marked) in rows:
        where = f"{file}:{line}"
        sure, links = read_links(marked, where)
        check_links(links, source, target, where)
        pair = Pair(source, target, line, links=links, sure=sure)
        pairs.append(pair.turned() if turned else pair)
    return Pairs(tuple(pairs), report)
