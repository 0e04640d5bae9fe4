"""Read pairs from one TSV file or two parallel files, and say what is wrong with them."""

from __future__ import annotations

import difflib
import gzip
import lzma
import zlib
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Literal

from qkv.data.pairs import Pair, Pairs, Problem, Report
from qkv.marks import without_mark

_GZIP, _XZ = b"\x1f\x8b", b"\xfd7zXZ\x00"
_ALONE = "line without partner"
_SIDES = ("source", "target")

Row = tuple[str, ...]


def read_pairs(files: tuple[str, ...], invalid: Literal["refuse", "skip"] = "refuse") -> Pairs:
    """Read `source<TAB>target` lines from one file, or line i of one file with line i of another.

    UTF-8, with or without a byte-order mark; \\n or \\r\\n; plain, gzip or xz (told by content).
    Text is kept as it stands, outer spaces included.

    Raises:
        ValueError: a file is missing or damaged, a line is no pair (unless `invalid` is "skip"),
            or no pair is left; names the file, the line and the way out.
    """
    if len(files) not in (1, 2):
        raise ValueError(
            f"{len(files)} files given: {', '.join(files) or 'none'}; give one TSV file "
            "(source<TAB>target on each line), or two parallel files (source, target)"
        )
    lines = _parallel(files[0], files[1]) if len(files) == 2 else columns(files[0], _SIDES)
    rows, report = sift(lines, " + ".join(files), invalid)
    return Pairs(tuple(Pair(row[0], row[1], line) for line, row in rows), report)


def read_columns(
    file: str,
    names: tuple[str, ...],
    invalid: Literal["refuse", "skip"] = "refuse",
    *,
    repeat_last: bool = False,
) -> tuple[list[tuple[int, Row]], Report]:
    """Read a TSV of columns with these names, none of them empty: line numbers and rows.

    repeat_last: the last column may come several times.

    Raises:
        ValueError: as for read_pairs.
    """
    return sift(columns(file, names, repeat_last=repeat_last), file, invalid)


def read_lines(file: str) -> Iterator[str]:
    """Give the lines of a text file; UTF-8, plain, gzip or xz.

    Raises:
        ValueError: the file is missing or damaged, or a line is no text; it is named.
    """
    for line in _lines(file):
        if isinstance(line, Problem):
            raise ValueError(str(line))
        yield line


def sift(
    lines: Iterable[Row | Problem], origin: str, invalid: Literal["refuse", "skip"]
) -> tuple[list[tuple[int, Row]], Report]:
    """Part the rows, each of a line, from the problems; refuse problems if that is wanted.

    Raises:
        ValueError: there are problems that may not be skipped, or no rows.
    """
    report = Report(origin)
    rows = []
    for number, found in enumerate(lines, 1):
        report.read = number
        if isinstance(found, Problem):
            report.add(found)
        else:
            rows.append((number, found))
    report.kept = len(rows)
    if report.problems and invalid == "refuse":
        raise ValueError(
            f"{report.examples[0]}\nin all:\n{report}\n"
            'mend the lines, or set data.invalid = "skip" to leave them out'
        )
    if not rows:
        raise ValueError(f"no pairs in the data:\n{report}")
    return rows, report


def columns(
    file: str, names: tuple[str, ...], *, separator: str = "\t", repeat_last: bool = False
) -> Iterator[Row | Problem]:
    """Give for each line its columns, none of them empty, or what is wrong with it.

    separator: with a space, the last column is the rest of the line.
    """
    cuts, shown = (-1, "<TAB>") if separator == "\t" else (len(names) - 1, separator)
    for number, line in enumerate(_lines(file), 1):
        if isinstance(line, Problem):
            yield line
            continue
        row = tuple(line.split(separator, cuts))
        more = len(row) - len(names)
        if more < 0 or (more > 0 and not repeat_last):
            empty = "" if line else " (the line is empty)"
            detail = f"{len(row)}{empty}, wanted {len(names)} ({shown.join(names)})"
            yield Problem(file, number, "wrong number of columns", detail)
        else:
            called = names + names[-1:] * more
            yield _filled(row, called, (file,) * len(called), number)


def _parallel(source: str, target: str) -> Iterator[Row | Problem]:
    both = zip_longest(_lines(source), _lines(target))
    for number, (left, right) in enumerate(both, 1):
        if isinstance(left, Problem):
            yield left
        elif isinstance(right, Problem):
            yield right
        elif left is None:
            yield Problem(target, number, _ALONE, f"{source} ends before this line")
        elif right is None:
            yield Problem(source, number, _ALONE, f"{target} ends before this line")
        elif "\t" in left and "\t" in right:
            detail = "parallel files hold one text a line; is each a TSV of pairs? Give one"
            yield Problem(source, number, "tabs in both files", detail)
        else:
            yield _filled((left, right), _SIDES, (source, target), number)


def _filled(
    row: Row, names: tuple[str, ...], files: tuple[str, ...], number: int
) -> Row | Problem:
    for text, name, file in zip(row, names, files, strict=True):
        if not text.strip():
            return Problem(file, number, f"empty {name}", repr(text))
    return row


def _lines(file: str) -> Iterator[str | Problem]:
    data = _content(file)
    # Only \n ends a line: str.splitlines would also break at U+2028 and others inside a text.
    for number, raw in enumerate(data.removesuffix(b"\n").split(b"\n") if data else (), 1):
        try:
            line = raw.removesuffix(b"\r").decode("utf-8")
        except UnicodeDecodeError as error:
            detail = (
                f"byte {error.start + 1} of the line is 0x{raw[error.start]:02x}; {error.reason}"
            )
            yield Problem(file, number, "not UTF-8", detail)
            continue
        if "\0" in line:
            yield Problem(file, number, "NUL", f"character {line.index(chr(0)) + 1} of the line")
        else:
            yield line


def _content(file: str) -> bytes:
    path = Path(file).expanduser()
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"no such file: {file}{_near(path)}") from None
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror})") from None
    try:
        if data.startswith(_GZIP):
            data = gzip.decompress(data)
        elif data.startswith(_XZ):
            data = lzma.decompress(data)
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise ValueError(f"{file}: the compressed file is damaged ({error})") from None
    return without_mark(data, file)


def _near(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"; there is no folder {folder}" + (
            _near(folder) if folder.parent != folder else ""
        )
    names = sorted(entry.name for entry in folder.iterdir())
    near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(str(folder / name) for name in near)}?" if near else ""
