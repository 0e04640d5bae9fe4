"""The Stanford Sentiment Treebank as Jain and Wallace 2019 cleaned it: lower case, words alone.

One CSV, `text,label,exp_split`; the labels are 0 (negative) and 1.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import TYPE_CHECKING

from qkv.data.families.folder import find
from qkv.data.families.labelled import known_label
from qkv.data.pairs import Pair, Pairs, Problem
from qkv.data.readers import Row, read_lines, sift

if TYPE_CHECKING:
    from qkv.config import DataConfig

_COLUMNS = ["text", "label", "exp_split"]
_SPLITS = ("train", "dev", "test")


def load(config: DataConfig, split: str) -> Pairs:
    """Read the rows of a split.

    Raises:
        ValueError: the file is missing, has other columns, or has a row that is none.
    """
    file = find(config.directory, "sst_dataset.csv")
    rows, report = sift(_rows(file), file, config.invalid)
    pairs = tuple(Pair(text, label, line + 1) for line, (label, text, own) in rows if own == split)
    report.origin += f" ({split})"
    report.kept = len(pairs)
    return Pairs(pairs, report)


def _rows(file: str) -> Iterator[Row | Problem]:
    """Give label, text and split of each row after the head."""
    rows = csv.reader(read_lines(file))
    head = next(rows, [])
    if head != _COLUMNS:
        raise ValueError(f"{file}:1: has the columns {head}; expected: {_COLUMNS}")
    for line, row in enumerate(rows, 2):
        if len(row) != len(_COLUMNS):
            detail = f"{len(row)}, wanted {len(_COLUMNS)} ({','.join(_COLUMNS)})"
            yield Problem(file, line, "wrong number of columns", detail)
            continue
        text, label, own = row
        if own not in _SPLITS:
            detail = f"{own!r}, wanted one of {', '.join(_SPLITS)}"
            yield Problem(file, line, "unknown split", detail)
        elif not text.strip():
            yield Problem(file, line, "empty text", repr(text))
        else:
            yield known_label((label, text, own), ("0", "1"), file, line)
