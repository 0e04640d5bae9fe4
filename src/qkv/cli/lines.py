"""Lines in, lines out: what the verbs that read and write text share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

STDIN = Path("-")


def read_lines(path: Path) -> Iterator[str]:
    """Give the lines of a file, or of standard input (`-`), without their ends.

    Raises:
        ValueError: the file is missing, or a line is not UTF-8.
    """
    number = 0
    try:
        stream = sys.stdin.buffer if path == STDIN else path.open("rb")
        with stream:
            for number, line in enumerate(stream, start=1):
                yield line.decode("utf-8").rstrip("\r\n")
    except FileNotFoundError as error:
        raise ValueError(f"{path} does not exist") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}, line {number}: not UTF-8 ({error.reason})") from error


def chunks(lines: Iterator[str], size: int) -> Iterator[list[str]]:
    """Give the lines in lists of at most `size`; one at a time where a person types them."""
    size = 1 if sys.stdin.isatty() else size
    chunk: list[str] = []
    for line in lines:
        chunk.append(line)
        if len(chunk) >= size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def read_pairs_of_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Give source and target of each line of a TSV.

    Raises:
        ValueError: a line has not exactly one tab.
    """
    for number, line in enumerate(read_lines(path), start=1):
        parts = line.split("\t")
        if len(parts) != 2:
            raise ValueError(
                f"{path}, line {number}: {len(parts)} columns; a line is source, tab, target"
            )
        yield parts[0], parts[1]
