"""Heat maps and alignment lines as text, for a terminal or a log."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from qkv.view.colours import rgb
from qkv.view.figure import Figure
from qkv.view.labels import cells, fold, graphemes, isolate, reads_right_to_left, visible
from qkv.view.measure import Measure

_NARROWEST = 20  # below this no label has room beside a cell
_STACK = 8  # longer labels are read along the line, not downwards
_STAIR = 24  # room that a label on the stairs gets before the matrix is split
_SHADES = "·░▒▓█"
_CUBE = (0, 95, 135, 175, 215, 255)  # the levels of the 256-colour palette

Paint = Callable[[float], str]  # a fraction of the scale -> one cell, two columns wide


def terminal(figure: Figure, width: int | None = None, colour: bool | None = None) -> str:
    """Draw the figure as text: a row a target token, a column (two cells wide) a source token.

    Longer column labels hang on stairs, short ones (at most 8 characters each) stand upright:

                   ┌ economic        t w o
                   │ ┌ growth       T ██░░··
        Wirtschaft ██░░            UW ··▒▒██

    What is wider than the terminal goes on in further panels; nothing is cut.

    Args:
        figure: what to draw.
        width: columns to use, at least 20; the terminal's own by default, 100 in a log.
        colour: background colours in place of shades; by default if standard output is a terminal
            that wants them (NO_COLOR is obeyed). 24 bits where COLORTERM promises them, else 256.
    """
    columns = max(width or shutil.get_terminal_size((100, 24)).columns, _NARROWEST)
    measure = figure.measure
    paint = _painter(_wants_colour() if colour is None else colour, measure)
    scale = measure.top(figure.weights)
    source = [visible(label) for label in figure.source]
    rows = _rows(figure.target, columns // 3)
    gutter = max([0, *(cells(piece) for pieces in rows for piece in pieces)]) + 1
    panels = list(_panels(source, columns - gutter))

    lines = [isolate(line) for line in _heading(figure, columns)]
    for first, last in panels:
        if len(panels) > 1:
            lines += ["", f"source {first + 1}–{last} of {len(source)}"]
        header = _header(source[first:last], columns - gutter)
        lines += ["", *(" " * gutter + line for line in header)]
        for pieces, weights in zip(rows, figure.weights[:, first:last], strict=True):
            painted = "".join(paint(measure.fraction(float(one), scale)) for one in weights)
            lines += [_left(piece, gutter) + painted for piece in pieces]
    lines += ["", *_legend(measure, scale, paint, columns)]
    return "\n".join(line.rstrip(" ") for line in lines)


def letters(figure: Figure) -> str:
    """Return the alignment line of a transduction, such as `c-K a-AE t-T` or `x-K+S e-_`.

    Each target token goes to the source token that it attends to most (the first of equals).
    Source tokens stay in order, so the left sides spell the source; one without a target gets `_`,
    several targets of one source are joined by `+`, targets that attend to nothing end as `_-T`.
    """
    spoken: list[list[str]] = [[] for _ in figure.source]
    unattended = []
    for label, weights in zip(figure.target, figure.weights, strict=True):
        if weights.any():
            spoken[int(weights.argmax())].append(visible(label))
        else:
            unattended.append(f"_-{visible(label)}")
    pairs = zip(figure.source, spoken, strict=True)
    return " ".join([f"{visible(a)}-{'+'.join(b) or '_'}" for a, b in pairs] + unattended)


def _heading(figure: Figure, width: int) -> Iterator[str]:
    for text in (figure.title, figure.note):
        if text:
            yield from fold(visible(text), width)
    size = f"rows: target ({len(figure.target)}), columns: source ({len(figure.source)})"
    yield from fold(size, width)


def _rows(target: Sequence[str], limit: int) -> list[list[str]]:
    return [fold(visible(label), limit) for label in target]


def _left(label: str, width: int) -> str:
    """Right-align a label in front of its row."""
    return " " * (width - 1 - cells(label)) + isolate(label) + " "


def _panels(source: list[str], width: int) -> Iterator[tuple[int, int]]:
    """Yield the columns [first, last) of each panel, as many as fit, at least one."""
    first = 0
    stairs = not _stackable(source)
    for column, label in enumerate(source):
        indent = 2 * (column - first)
        # stairs: two cells of line, then the label or as much of it as is promised on one line
        needed = 2 + min(cells(label), _STAIR) if stairs else 2
        if column > first and indent + needed > width:
            yield first, column
            first = column
    yield first, len(source)


def _stackable(source: list[str]) -> bool:
    """Say whether every label can stand upright: short, narrow, of letters that do not join."""
    return all(
        len(parts) <= _STACK
        and all(cells(part) <= 2 for part in parts)
        and (len(parts) == 1 or not reads_right_to_left(label))
        for label in source
        for parts in [graphemes(label)]
    )


def _header(source: list[str], width: int) -> list[str]:
    return _stack(source) if _stackable(source) else list(_stairs(source, width))


def _stack(source: list[str]) -> list[str]:
    """Write the labels downwards, each ending just above its column."""
    parts = [graphemes(label) for label in source]
    height = max(map(len, parts), default=0)
    upright = [[" "] * (height - len(column)) + column for column in parts]
    return [
        "".join(isolate(column[line]) + " " * (2 - cells(column[line])) for column in upright)
        for line in range(height)
    ]


def _stairs(source: list[str], width: int) -> Iterator[str]:
    """Write a label a line, each hanging on a line that leads down to its column."""
    for column, label in enumerate(source):
        before = "│ " * column
        pieces = fold(label, max(width - 2 * column - 2, 1))
        yield f"{before}┌ {isolate(pieces[0])}"
        for piece in pieces[1:]:
            yield f"{before}│ {isolate(piece)}"


def _legend(measure: Measure, scale: float, paint: Paint, width: int) -> Iterator[str]:
    """Explain the shades, a few a line; an entry takes 10 cells at most, and 2 apart."""
    steps = len(_SHADES) - 1
    shares = [step / steps for step in range(steps + 1)]
    entries = [f"{paint(share)} {measure.at(share, scale):g}" for share in shares]
    each = (width + 2) // 12
    for first in range(0, len(entries), each):
        yield "  ".join(entries[first : first + each])


def _wants_colour() -> bool:
    wanted = "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    return wanted and sys.stdout.isatty()


def _painter(colourful: bool, measure: Measure) -> Paint:
    if not colourful:
        return _signed_shade if measure.signed else _shade
    full = os.environ.get("COLORTERM") in {"truecolor", "24bit"}
    return partial(_true_colour if full else _palette, measure.night)


def _shade(fraction: float) -> str:
    return 2 * _SHADES[int(min(fraction, 1.0) * (len(_SHADES) - 1) + 0.5)]


def _signed_shade(fraction: float) -> str:
    """Shade a magnitude; below zero a minus stands before it."""
    painted = _shade(abs(2 * fraction - 1))
    return f"-{painted[1:]}" if fraction < 0.5 and painted != 2 * _SHADES[0] else painted


def _true_colour(ramp: list[str], fraction: float) -> str:
    red, green, blue = rgb(fraction, ramp)
    return f"\x1b[48;2;{red};{green};{blue}m  \x1b[0m"


def _palette(ramp: list[str], fraction: float) -> str:
    red, green, blue = map(_nearest, rgb(fraction, ramp))
    return f"\x1b[48;5;{16 + 36 * red + 6 * green + blue}m  \x1b[0m"


def _nearest(level: int) -> int:
    return min(range(len(_CUBE)), key=lambda index: abs(_CUBE[index] - level))
