"""Universal Dependencies: words and their parts of speech (Nivre et al. 2020).

The source is the words of a sentence with a space between them, the target their universal tags
(UPOS), as many. Words that stand for several (`don't`, whose line has a range of numbers) give way
to their parts, and empty nodes are left out, as in every evaluation of tags. A space inside a word
is written ␣.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from qkv.data.families.folder import find
from qkv.data.pairs import Pair, Pairs, Report
from qkv.data.readers import read_lines

if TYPE_CHECKING:
    from qkv.config import DataConfig

_FORM, _UPOS = 1, 3


def load(config: DataConfig, split: str) -> Pairs:
    """Read files such as en_ewt-ud-train.conllu; data.source is the part before -ud-: en_ewt.

    Raises:
        ValueError: a line is neither a comment, nor empty, nor of ten columns.
    """
    file = find(config.directory, f"{config.source}-ud-{split}.conllu")
    report = Report(file)
    pairs = tuple(
        Pair(" ".join(words), " ".join(tags), line)
        for line, words, tags in _sentences(file, report)
    )
    report.kept = len(pairs)
    return Pairs(pairs, report)


def _sentences(file: str, report: Report) -> Iterator[tuple[int, list[str], list[str]]]:
    words: list[str] = []
    tags: list[str] = []
    number = 0
    for number, line in enumerate(read_lines(file), 1):
        report.read = number
        if not line:
            if words:
                yield number - len(words), words, tags
            words, tags = [], []
        elif not line.startswith("#"):
            columns = line.split("\t")
            if len(columns) != 10:
                raise ValueError(
                    f"{file}:{number}: {len(columns)} columns; a line of CoNLL-U has 10"
                )
            if columns[0].isdecimal():
                words.append(columns[_FORM].replace(" ", "␣"))
                tags.append(columns[_UPOS])
    if words:
        yield number + 1 - len(words), words, tags
