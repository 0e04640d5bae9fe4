"""The Stanford Sentiment Treebank as Jain and Wallace 2019 cleaned it: lower case, words alone.

One CSV, `text,label,exp_split`; the labels are 0 (negative) and 1.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from qkv.data.families.folder import find
from qkv.data.pairs import Pair, Pairs, Report
from qkv.data.readers import read_lines

if TYPE_CHECKING:
    from qkv.config import DataConfig


def load(config: DataConfig, split: str) -> Pairs:
    """Read the rows of a split.

    Raises:
        ValueError: the file is missing, or has other columns.
    """
    file = find(config.directory, "sst_dataset.csv")
    rows = csv.DictReader(read_lines(file))
    columns = ["text", "label", "exp_split"]
    if rows.fieldnames != columns:
        raise ValueError(f"{file} has the columns {rows.fieldnames}; expected: {columns}")
    pairs = tuple(
        Pair(row["text"], row["label"], line)
        for line, row in enumerate(rows, 2)
        if row["exp_split"] == split
    )
    return Pairs(pairs, Report(f"{file} ({split})", read=len(pairs), kept=len(pairs)))
