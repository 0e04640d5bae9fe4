"""Lines in, lines out: what the verbs that read and write text share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TypeVar

from qkv.marks import without_mark

STDIN = Path("-")

Item = TypeVar("Item")


def name_of(path: Path) -> str:
    """Return what an error calls a file."""
    return "standard input" if path == STDIN else str(path)


def read_lines(path: Path) -> Iterator[str]:
    """Give the lines of a file, or of standard input (`-`), without their ends or a mark.

    Raises:
        OSError: the file cannot be read.
        ValueError: a line is not UTF-8.
    """
    if path == STDIN and sys.stdin.isatty():
        print("qkv: reading line by line from the keyboard; Ctrl-D ends", file=sys.stderr)
    with sys.stdin.buffer if path == STDIN else path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            content = without_mark(line, name_of(path)) if number == 1 else line
            try:
                yield content.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                where = f"{name_of(path)}, line {number}"
                raise ValueError(
                    f"{where}: not UTF-8 (byte {error.start + 1} of the line)"
                ) from error


def chunks(items: Iterator[Item], path: Path) -> Iterator[list[Item]]:
    """Give what is read from a file in lists: short ones where a person types it."""
    size = 1 if path == STDIN and sys.stdin.isatty() else 512
    while chunk := list(islice(items, size)):
        yield chunk


def read_pairs_of_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Give source and target of each line of a TSV.

    Raises:
        ValueError: a line has not exactly one tab.
    """
    for number, line in enumerate(read_lines(path), start=1):
        parts = line.split("\t")
        if len(parts) != 2:
            where = f"{name_of(path)}, line {number}"
            raise ValueError(f"{where}: {len(parts)} columns; a line is source, tab, target")
        yield parts[0], parts[1]
