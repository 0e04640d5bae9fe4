"""Texts with a label each, from files of other layouts.

A label is one word; the text is kept as it stands. Where no development set is published, each
text's hash gives a tenth of the training texts to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from qkv.data.families.folder import find
from qkv.data.families.splits import position
from qkv.data.pairs import Pair, Pairs, Report
from qkv.data.readers import read_columns, read_lines

if TYPE_CHECKING:
    from qkv.config import DataConfig

_TENTH = 0.1


def load_sst(config: DataConfig, split: str) -> Pairs:
    """Read `label<TAB>sentence`, 0 or 1: without the neutral sentences (Socher et al. 2013)."""
    return _labels_first(find(config.directory, f"sst2.{split}.tsv"), config)


def load_sst5(config: DataConfig, split: str) -> Pairs:
    """Read `label<TAB>sentence`, 0 to 4."""
    return _labels_first(find(config.directory, f"sst5.{split}.tsv"), config)


def load_trec(config: DataConfig, split: str) -> Pairs:
    """Read `COARSE:fine question`; the label is the coarse one."""
    name = "TREC_10.label" if split == "test" else "train_5500.label"
    file = find(config.directory, name)
    pairs = []
    for number, line in enumerate(read_lines(file), 1):
        label, _, question = line.partition(" ")
        pairs.append(Pair(question, label.partition(":")[0], number))
    return split_off(pairs, split, file, "trec")


def load_polarity(config: DataConfig, split: str) -> Pairs:
    """Read sentences of reviews, one file a label, neg and pos (Pang and Lee 2005)."""
    return _files(
        config, split, "sentence_polarity", {"neg": "rt-polarity.neg", "pos": "rt-polarity.pos"}
    )


def load_subjectivity(config: DataConfig, split: str) -> Pairs:
    """Read sentences of plots and of reviews, one file a label (Pang and Lee 2004)."""
    files = {"objective": "plot.tok.gt9.5000", "subjective": "quote.tok.gt9.5000"}
    return _files(config, split, "subjectivity", files)


def load_reviews(config: DataConfig, split: str) -> Pairs:
    """Read `label<TAB>file<TAB>review`, 0 or 1: whole reviews (Pang and Lee 2004)."""
    file = find(config.directory, "movie_reviews.tsv")
    rows, _ = read_columns(file, ("label", "file", "text"), config.invalid)
    pairs = [Pair(text, label, line) for line, (label, _, text) in rows]
    return tenths(pairs, split, file, "reviews")


def _labels_first(file: str, config: DataConfig) -> Pairs:
    rows, report = read_columns(file, ("label", "text"), config.invalid)
    return Pairs(tuple(Pair(text, label, line) for line, (label, text) in rows), report)


def _files(config: DataConfig, split: str, folder: str, files: dict[str, str]) -> Pairs:
    pairs = []
    for label, name in files.items():
        file = find(config.directory, f"{folder}/{name}", name)
        for number, line in enumerate(read_lines(file), 1):
            pairs.append(Pair(line.strip(), label, number))
    return tenths(pairs, split, f"{config.directory}/{folder}", folder)


def split_off(pairs: Iterable[Pair], split: str, file: str, salt: str) -> Pairs:
    """Give a tenth of the training pairs to dev; the test set is one of its own."""
    ranges = {"test": (0.0, 1.0), "dev": (0.0, _TENTH), "train": (_TENTH, 1.0)}
    return _within(pairs, ranges[split], f"{file} ({split})", salt)


def tenths(pairs: Iterable[Pair], split: str, file: str, salt: str) -> Pairs:
    """Give a tenth of the pairs to test and a tenth to dev: one fold of ten, drawn once."""
    ranges = {"test": (0.0, _TENTH), "dev": (_TENTH, 2 * _TENTH), "train": (2 * _TENTH, 1.0)}
    return _within(pairs, ranges[split], f"{file} ({split})", salt)


def _within(pairs: Iterable[Pair], place: tuple[float, float], origin: str, salt: str) -> Pairs:
    every = list(pairs)
    first, last = place
    kept = tuple(one for one in every if first <= position(one.source, salt) < last)
    return Pairs(kept, Report(origin, read=len(every), kept=len(kept)))
