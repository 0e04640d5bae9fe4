"""A metric by the length of the source: does quality fall on long sentences?

Bahdanau, Cho and Bengio 2015, figure 2, and Luong, Pham and Manning 2015, figure 6, plot it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from qkv.evaluate.registry import References, find, listed

BOUNDARIES = (10, 20, 30, 40, 50, 60)


@dataclass(frozen=True)
class Bucket:
    """The sentences of low to high source words; high None: no end.

    values: one for each of the table's metrics, over this bucket alone; empty without sentences.
    """

    low: int
    high: int | None
    count: int
    values: tuple[float, ...]

    @property
    def label(self) -> str:
        """Return the range, such as 11-20 or 61+."""
        return f"{self.low}+" if self.high is None else f"{self.low}-{self.high}"


@dataclass(frozen=True)
class LengthTable:
    """Metrics by source length. Prints as a table."""

    metrics: tuple[str, ...]
    buckets: tuple[Bucket, ...]

    def json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        head = ["length", "sentences", *self.metrics]
        body = [
            [
                bucket.label,
                str(bucket.count),
                *([f"{value:.2f}" for value in bucket.values] or ["-"] * len(self.metrics)),
            ]
            for bucket in self.buckets
        ]
        return aligned([head, *body])


def length_table(
    hypotheses: Sequence[str],
    references: References,
    lengths: Sequence[int],
    metrics: Sequence[str],
    boundaries: Sequence[int] = BOUNDARIES,
) -> LengthTable:
    """Return each metric over the sentences of each range of source length.

    Args:
        lengths: of each source, in any unit.
        boundaries: the last length of each range but the open last one, rising.

    Raises:
        ValueError: boundaries that do not rise; an unknown metric; numbers that do not match.
    """
    if not boundaries or list(boundaries) != sorted(set(boundaries)) or boundaries[0] < 0:
        raise ValueError(
            f"boundaries = {tuple(boundaries)}: give rising lengths, such as 10 20 30"
        )
    lists = listed(hypotheses, references)
    if len(lengths) != len(lists):
        raise ValueError(f"{len(lengths)} source lengths for {len(lists)} hypotheses")
    functions = [find(name).load() for name in metrics]
    buckets, low = [], 0
    for high in [*boundaries, None]:
        rows = [i for i, n in enumerate(lengths) if n >= low and (high is None or n <= high)]
        texts, expected = [hypotheses[i] for i in rows], [lists[i] for i in rows]
        values = tuple(function(texts, expected).value for function in functions) if rows else ()
        buckets.append(Bucket(low, high, len(rows), values))
        low = 0 if high is None else high + 1
    return LengthTable(tuple(metrics), tuple(buckets))


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as text: the first column flush left, the others flush right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
