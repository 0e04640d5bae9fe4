"""Texts with a label each, from files of other layouts.

A label is one word; the text is kept as it stands. Where no development set is published, each
text's hash gives a tenth of the training texts to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from qkv.data.families.folder import find
from qkv.data.families.splits import position
from qkv.data.pairs import Pair, Pairs, Problem, Report
from qkv.data.readers import Row, columns, read_columns, sift

if TYPE_CHECKING:
    from qkv.config import DataConfig

_TENTH = 0.1
_TWO = ("0", "1")
_QUESTIONS = ("ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM")


def load_sst(config: DataConfig, split: str) -> Pairs:
    """Read `label<TAB>sentence`, 0 or 1: without the neutral sentences (Socher et al. 2013)."""
    return _labels_first(find(config.directory, f"sst2.{split}.tsv"), _TWO, config)


def load_sst5(config: DataConfig, split: str) -> Pairs:
    """Read `label<TAB>sentence`, 0 to 4."""
    return _labels_first(find(config.directory, f"sst5.{split}.tsv"), tuple("01234"), config)


def load_trec(config: DataConfig, split: str) -> Pairs:
    """Read `COARSE:fine question`; the label is the coarse one."""
    name = "TREC_10.label" if split == "test" else "train_5500.label"
    file = find(config.directory, name)
    rows = (
        row if isinstance(row, Problem) else (row[0].partition(":")[0], row[1])
        for row in columns(file, ("label", "question"), separator=" ")
    )
    return split_off(_labelled(rows, file, _QUESTIONS, config), split, "trec")


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
    rows = columns(file, ("label", "file", "text"))
    return tenths(_labelled(rows, file, _TWO, config), split, "reviews")


def _labels_first(file: str, labels: tuple[str, ...], config: DataConfig) -> Pairs:
    return _labelled(columns(file, ("label", "text")), file, labels, config)


def _labelled(
    rows: Iterable[Row | Problem], file: str, labels: tuple[str, ...], config: DataConfig
) -> Pairs:
    """Make pairs of rows whose first column is one of these labels and whose last is the text."""
    known = (known_label(row, labels, file, line) for line, row in enumerate(rows, 1))
    kept, report = sift(known, file, config.invalid)
    return Pairs(tuple(Pair(row[-1], row[0], line) for line, row in kept), report)


def known_label(
    row: Row | Problem, labels: tuple[str, ...], file: str, line: int
) -> Row | Problem:
    """Return the row, or a problem where its first column is none of the labels."""
    if isinstance(row, Problem) or row[0] in labels:
        return row
    return Problem(file, line, "unknown label", f"{row[0]!r}, wanted one of {', '.join(labels)}")


def _files(config: DataConfig, split: str, folder: str, files: dict[str, str]) -> Pairs:
    pairs: list[Pair] = []
    report = Report(f"{config.directory}/{folder}")
    for label, name in files.items():
        file = find(config.directory, f"{folder}/{name}", name)
        rows, one = read_columns(file, ("text",), config.invalid)
        pairs += [Pair(text.strip(), label, line) for line, (text,) in rows]
        report.include(one)
    return tenths(Pairs(tuple(pairs), report), split, folder)


def split_off(pairs: Pairs, split: str, salt: str) -> Pairs:
    """Give a tenth of the training pairs to dev; the test set is one of its own."""
    ranges = {"test": (0.0, 1.0), "dev": (0.0, _TENTH), "train": (_TENTH, 1.0)}
    return _within(pairs, ranges[split], split, salt)


def tenths(pairs: Pairs, split: str, salt: str) -> Pairs:
    """Give a tenth of the pairs to test and a tenth to dev: one fold of ten, drawn once."""
    ranges = {"test": (0.0, _TENTH), "dev": (_TENTH, 2 * _TENTH), "train": (2 * _TENTH, 1.0)}
    return _within(pairs, ranges[split], split, salt)


def _within(pairs: Pairs, place: tuple[float, float], split: str, salt: str) -> Pairs:
    first, last = place
    kept = tuple(one for one in pairs if first <= position(one.source, salt) < last)
    pairs.report.origin += f" ({split})"
    pairs.report.kept = len(kept)
    return Pairs(kept, pairs.report)
