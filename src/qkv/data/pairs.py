"""Sentence pairs, and what was found wrong on the way to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import overload

_SHOWN = 3  # problems of each kind that a report spells out


@dataclass(frozen=True, slots=True)
class Pair:
    """A source text with its target; `references` are all targets that count as right.

    `line` is where it stands in its file or corpus, from 1. Without references given, the target
    is the only one. `links` are the pairs of words (source, target), from 0, that belong
    together; None: nobody has said. `sure` are those that must be found, the others being
    possible ones; without sure ones given, all are sure.
    """

    source: str
    target: str
    line: int
    references: tuple[str, ...] = ()
    links: frozenset[tuple[int, int]] | None = None
    sure: frozenset[tuple[int, int]] | None = None

    def __post_init__(self) -> None:
        if not self.references:
            object.__setattr__(self, "references", (self.target,))
        if self.sure is None:
            object.__setattr__(self, "sure", self.links)

    def turned(self) -> Pair:
        """Return the pair of the other direction, its links turned round."""
        links, sure = (
            None if given is None else frozenset((j, i) for i, j in given)
            for given in (self.links, self.sure)
        )
        return Pair(self.target, self.source, self.line, links=links, sure=sure)


@dataclass(frozen=True, slots=True)
class Problem:
    """One line that is no pair: where, of what kind, and the particulars."""

    file: str
    line: int
    kind: str
    detail: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.kind}: {self.detail}"


@dataclass(slots=True)
class Report:
    """What was read and what was not: the counts, and the first problems of each kind."""

    origin: str
    read: int = 0
    kept: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    examples: list[Problem] = field(default_factory=list)

    def add(self, problem: Problem) -> None:
        """Count a problem, and remember it if it is among the first of its kind."""
        seen = self.counts.get(problem.kind, 0)
        self.counts[problem.kind] = seen + 1
        if seen < _SHOWN:
            self.examples.append(problem)

    def include(self, other: Report) -> None:
        """Add what the reading of another file found."""
        self.read += other.read
        self.kept += other.kept
        for kind, count in other.counts.items():
            self.counts[kind] = self.counts.get(kind, 0) + count
        self.examples += other.examples

    @property
    def problems(self) -> int:
        """How many problems there are in all."""
        return sum(self.counts.values())

    def __str__(self) -> str:
        lines = [f"{self.origin}: {self.kept} pairs of {self.read} lines"]
        lines += [f"  {n} x {kind}" for kind, n in self.counts.items()]
        lines += [f"  {problem}" for problem in self.examples]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Pairs(Sequence[Pair]):
    """Pairs in the order of their file, with the report of reading them."""

    pairs: tuple[Pair, ...]
    report: Report

    def __len__(self) -> int:
        return len(self.pairs)

    @overload
    def __getitem__(self, index: int) -> Pair: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Pair, ...]: ...
    def __getitem__(self, index: int | slice) -> Pair | tuple[Pair, ...]:
        return self.pairs[index]

    def __iter__(self) -> Iterator[Pair]:
        return iter(self.pairs)

    def first(self, count: int) -> Pairs:
        """The first pairs only, with the same report."""
        return Pairs(self.pairs[:count], self.report)

    @property
    def sources(self) -> list[str]:
        """The source texts."""
        return [pair.source for pair in self.pairs]

    @property
    def targets(self) -> list[str]:
        """The target texts."""
        return [pair.target for pair in self.pairs]


def one_a_source(pairs: Sequence[Pair]) -> list[Pair]:
    """Return one pair for each source: the first, with the references of all."""
    first: dict[str, Pair] = {}
    references: dict[str, list[str]] = {}
    for pair in pairs:
        first.setdefault(pair.source, pair)
        references.setdefault(pair.source, []).extend(pair.references)
    return [
        Pair(source, pair.target, pair.line, tuple(dict.fromkeys(references[source])))
        for source, pair in first.items()
    ]
