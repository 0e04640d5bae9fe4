"""Universal Dependencies: words and their parts of speech (Nivre et al. 2020).

The source is the words of a sentence with a space between them, the target their universal tags
(UPOS), as many. Words that stand for several (`don't`, whose line has a range of numbers) give way
to their parts, and empty nodes are left out, as in every evaluation of tags. A space inside a word
is written ␣.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from qkv.data.families.folder import find
from qkv.data.pairs import Pair, Pairs, Report
from qkv.data.readers import read_lines

if TYPE_CHECKING:
    from qkv.config import DataConfig

_FORM, _UPOS = 1, 3
_NUMBER = re.compile(r"[0-9]+([-.][0-9]+)?")
_WORD = "ID, FORM, LEMMA, UPOS, ... with tabs between (CoNLL-U)"

_TAGS = "ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X"
TAGS = tuple(_TAGS.split())


def load(config: DataConfig, split: str) -> Pairs:
    """Read files such as en_ewt-ud-train.conllu; data.source is the part before -ud-: en_ewt.

    Raises:
        ValueError: a line is neither empty, nor a comment, nor a word with its tag; no sentence.
    """
    file = find(config.directory, f"{config.source}-ud-{split}.conllu")
    report = Report(file)
    pairs = tuple(
        Pair(" ".join(words), " ".join(tags), line)
        for line, words, tags in _sentences(file, report)
    )
    if not pairs:
        raise ValueError(f"{file}: no sentences; a word is a line of {_WORD}")
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
            number_of_word, form, tag = _word(line, f"{file}:{number}")
            if number_of_word.isdecimal():
                words.append(form)
                tags.append(tag)
    if words:
        yield number + 1 - len(words), words, tags


def _word(line: str, place: str) -> tuple[str, str, str]:
    """Return the number, the form and the tag of a line."""
    columns = line.split("\t")
    if len(columns) != 10:
        raise ValueError(f"{place}: {len(columns)} columns, wanted 10: {_WORD}")
    number, form, tag = columns[0], "␣".join(columns[_FORM].split()), columns[_UPOS]
    if not _NUMBER.fullmatch(number):
        raise ValueError(f"{place}: the number {number!r}, wanted such as 3, 3-4 or 3.1")
    if number.isdecimal() and not form:
        raise ValueError(f"{place}: empty form, wanted a word")
    if number.isdecimal() and tag not in TAGS:
        raise ValueError(f"{place}: the tag {tag!r}, wanted one of {', '.join(TAGS)}")
    return number, form, tag
