"""Read gold word links: `i-j` is sure; `i?j`, `ipj` and `iPj` are possible; all from 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qkv.data.links import check_links, read_links
from qkv.data.readers import read_lines

_FORMS = {1: "links", 3: "source<TAB>target<TAB>links", 4: "name<TAB>source<TAB>target<TAB>links"}


@dataclass(frozen=True)
class Gold:
    """The gold links of a sentence pair. `possible` holds the sure ones too.

    source, target: the texts, whose words are what stands between white space; None in a file
        that holds links alone.
    line: where it stands in its file, from 1.
    """

    source: str | None
    target: str | None
    sure: frozenset[tuple[int, int]]
    possible: frozenset[tuple[int, int]]
    line: int


def read_gold(file: str) -> list[Gold]:
    """Read a file of gold links; plain, gzip or xz.

    Each line is the links alone (Pharaoh), or source, target, links, or name, source, target,
    links, with tabs between. A pair without links is one to which every link is wrong.

    Raises:
        ValueError: the file is missing or empty, or a line is not of its form; it is named.
    """
    lines = list(read_lines(file))
    if not lines:
        raise ValueError(f"{file} is empty; it should hold gold links, a sentence pair a line")
    columns = lines[0].count("\t") + 1
    if columns not in _FORMS:
        forms = ", or ".join(_FORMS.values())
        raise ValueError(f"{file}:1: {columns} columns; a line of gold links is {forms}")
    return [_read(line, columns, file, number) for number, line in enumerate(lines, 1)]


def pair_texts(gold: Sequence[Gold], file: str) -> tuple[list[str], list[str]]:
    """Return the source texts and the target texts of gold links that come with them.

    Raises:
        ValueError: the file holds links alone.
    """
    sources = [one.source for one in gold if one.source is not None]
    targets = [one.target for one in gold if one.target is not None]
    if len(sources) != len(gold):
        raise ValueError(f"{file} holds links alone, not the texts; a line must be {_FORMS[3]}")
    return sources, targets


def _read(line: str, columns: int, file: str, number: int) -> Gold:
    cells = line.split("\t")
    if len(cells) != columns:
        raise ValueError(
            f"{file}:{number}: {len(cells)} columns, wanted {columns} as in the first line "
            f"({_FORMS[columns]})"
        )
    source, target = (None, None) if columns == 1 else (cells[-3], cells[-2])
    sure, possible = read_links(cells[-1], f"{file}:{number}")
    if source is not None and target is not None:
        check_links(possible, source, target, f"{file}:{number}")
    return Gold(source, target, sure, possible, number)
