"""Heat maps as standalone SVG: text stays text, every cell says its number, no label is cut."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from xml.sax.saxutils import escape

import numpy as np

from qkv.view.colours import hexadecimal
from qkv.view.figure import Figure
from qkv.view.labels import ems, fold, isolate, visible

FONTS = ("Noto Sans", "DejaVu Sans", "Liberation Sans", "Helvetica Neue", "Arial")
_ANGLE = 55  # degrees: neighbours keep a line's distance and the head tilts less than at 90
_MARGIN, _GAP = 16, 7  # around everything; between a label and its cell
_CORNER = 58  # room for the names of the axes, left of the matrix
_TITLE, _NOTE, _SMALL = 15, 12, 11  # font sizes
_LEGEND, _STEPS = 180, 60  # width of the scale, and of how many swatches it is made
_FEW_STEPS = 12  # without details


@dataclass(frozen=True)
class _Layout:
    """Where things are; every length in pixels."""

    cell: int
    font: int
    heading: list[tuple[str, int]]  # lines of title and note, with their font size
    slanted: list[bool]
    left: float  # of the matrix
    top: float
    width: float  # of the whole drawing
    height: float


def svg(figure: Figure, *, scale: float | None = None, details: bool = True) -> str:
    """Return the figure as one SVG document that needs nothing else.

    Rows are target tokens, columns source tokens. Each cell is a rect with `data-target`,
    `data-source` and `data-weight` (exact), and a tooltip that names both tokens.

    scale: the number at the end of the colours, so that several figures can share one; None: the
        first of 0.02 .05 .1 .2 .5 1 that holds all weights, and of signed values as wide as they.
    details: False leaves out the numbers and tooltips: the cells of one colour are one path, and
        the drawing is a tenth as large. For a page of many pictures.
    """
    scale = figure.measure.top(figure.weights) if scale is None else scale
    layout = _lay_out(figure)
    width, height = math.ceil(layout.width), math.ceil(layout.height)
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    families = ", ".join(f"'{family}'" for family in FONTS)
    summary = _summary(figure)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" xml:space="preserve" '
            f'font-family="{families}, sans-serif" font-size="{layout.font}" fill="#1c2128">',
            f"<title>{escape(visible(figure.title or 'Attention'))}</title>",
            f"<desc>{escape(summary)}</desc>",
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
            *_heading(layout),
            *_axes(figure, layout),
            *(_cells if details else _squares)(figure, layout, scale),
            *_legend(figure, layout, scale, _STEPS if details else _FEW_STEPS),
            "</svg>\n",
        ]
    )


def svg_size(figure: Figure) -> int:
    """Return about how many bytes `svg` gives, from a few of the cells, before all are drawn."""
    rows, columns = (min(size, 8) for size in figure.weights.shape)
    scale, layout = figure.measure.top(figure.weights), _lay_out(figure)
    sample = replace(
        figure,
        weights=figure.weights[:rows, :columns],
        target=figure.target[:rows],
        source=figure.source[:columns],
    )
    drawn = sum(len(cell.encode()) + 1 for cell in _cells(sample, layout, scale))
    return int(drawn / max(1, rows * columns) * figure.weights.size)


def _summary(figure: Figure) -> str:
    rows, columns = figure.weights.shape
    size = f"{rows} target tokens (rows) by {columns} source tokens (columns)"
    what = (
        f"signed values ({figure.measure.name})" if figure.measure.signed else "attention weights"
    )
    return f"Heat map of {what}: {size}. {visible(figure.note) if figure.note else ''}"


def _lay_out(figure: Figure) -> _Layout:
    rows, columns = figure.weights.shape
    cell, font = _cell(max(rows, columns))
    across = [ems(visible(label)) * font for label in figure.source]
    slanted = _slanted(across, cell)
    beside = max([_CORNER, *(ems(visible(label)) * font for label in figure.target)])
    left = math.ceil(_MARGIN + beside + _GAP)  # whole pixels, so that edges are sharp
    rise = max([2.6 * _SMALL, *map(_rise, across, slanted)]) + font / 2 + _GAP
    reach = max([columns * cell, *map(_reach, across, slanted, _centres(columns, cell))])
    width = left + max(reach, _LEGEND + 60) + _MARGIN

    heading = _fold_heading(figure, width - 2 * _MARGIN)
    width = max([width, *(ems(text) * size + 2 * _MARGIN for text, size in heading)])
    above = math.ceil(_MARGIN + sum(1.4 * size for _, size in heading) + 8 + rise)
    height = above + rows * cell + 50 + _MARGIN
    return _Layout(cell, font, heading, slanted, left, above, width, height)


def _cell(longest: int) -> tuple[int, int]:
    """Return the side of a cell and the font size: smaller where there is much to show."""
    return (22, 12) if longest <= 40 else (16, 11) if longest <= 100 else (12, 9)


def _centres(count: int, cell: int) -> list[float]:
    return [(index + 0.5) * cell for index in range(count)]


def _slanted(widths: Sequence[float], cell: int) -> list[bool]:
    """Slant what is wider than its column, and everything once a fifth of the labels is."""
    wide = [width > cell - 2 for width in widths]
    return [True] * len(wide) if sum(wide) > len(wide) / 5 else wide


def _rise(width: float, slanted: bool) -> float:
    return width * math.sin(math.radians(_ANGLE)) if slanted else 0


def _reach(width: float, slanted: bool, centre: float) -> float:
    return centre + (width * math.cos(math.radians(_ANGLE)) + 10 if slanted else width / 2)


def _fold_heading(figure: Figure, width: float) -> list[tuple[str, int]]:
    parts = ((figure.title, _TITLE), (figure.note, _NOTE))
    return [
        (line, size)
        for text, size in parts
        if text
        for line in fold(visible(text), max(int(width / (0.66 * size)), 1))
    ]


def _heading(layout: _Layout) -> Iterator[str]:
    y = float(_MARGIN)
    for text, size in layout.heading:
        y += 1.4 * size
        style = 'font-weight="600"' if size == _TITLE else 'fill="#57606a"'
        yield _text(text, _MARGIN, y - 0.4 * size, f'class="heading" font-size="{size}" {style}')


def _axes(figure: Figure, layout: _Layout) -> Iterator[str]:
    rows, columns = figure.weights.shape
    x, y = layout.left - _GAP, layout.top - _GAP
    name = f'class="axis" font-size="{_SMALL}" fill="#57606a" text-anchor="end"'
    yield _text("source", x - 16, y - 1.4 * _SMALL, name)
    yield _text("target", x - 16, y, name)
    arrows = f"M{x - 11:g} {y - 18.5:g}h9m-3 -3l3 3l-3 3M{x - 6.5:g} {y - 8:g}v9m-3 -3l3 3l3 -3"
    yield f'<path d="{arrows}" fill="none" stroke="#57606a"/>'

    for row, y in enumerate(_centres(rows, layout.cell)):
        place = f'class="target" data-target="{row}" text-anchor="end"'
        label = visible(figure.target[row])
        yield _text(label, layout.left - _GAP, layout.top + y + 0.35 * layout.font, place)
    for column, x in enumerate(_centres(columns, layout.cell)):
        yield _column_label(figure, layout, column, layout.left + x)


def _column_label(figure: Figure, layout: _Layout, column: int, x: float) -> str:
    y = layout.top - _GAP
    place = f'class="source" data-source="{column}"'
    if layout.slanted[column]:
        x += 0.3 * layout.font  # the foot of the letters, not their baseline, meets the column
        place += f' transform="rotate(-{_ANGLE} {x:g} {y:g})"'
    else:
        place += ' text-anchor="middle"'
    return _text(visible(figure.source[column]), x, y, place)


def _text(text: str, x: float, y: float, attributes: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" {attributes}>{escape(isolate(text))}</text>'


def _cells(figure: Figure, layout: _Layout, scale: float) -> Iterator[str]:
    side = layout.cell - 1  # one pixel of paper between neighbours
    source = [escape(isolate(visible(label))) for label in figure.source]
    measure = figure.measure
    for row, label in enumerate(figure.target):
        target = escape(isolate(visible(label)))
        y = layout.top + row * layout.cell
        for column, weight in enumerate(figure.weights[row].tolist()):
            number = figure.number(row, column)
            fill = hexadecimal(measure.fraction(weight, scale), measure.paper)
            yield (
                f'<rect class="cell" x="{layout.left + column * layout.cell:g}" y="{y:g}" '
                f'width="{side}" height="{side}" fill="{fill}" '
                f'data-target="{row}" data-source="{column}" data-weight="{number}">'
                f"<title>target: {target}\nsource: {source[column]}\n{measure.name}: {number}"
                "</title>"
                "</rect>"
            )


def _squares(figure: Figure, layout: _Layout, scale: float) -> Iterator[str]:
    side = layout.cell - 1
    places: dict[str, list[str]] = {}
    for row, column in np.ndindex(figure.weights.shape):
        share = figure.measure.fraction(float(figure.weights[row, column]), scale)
        fill = hexadecimal(share, figure.measure.paper)
        x, y = layout.left + column * layout.cell, layout.top + row * layout.cell
        places.setdefault(fill, []).append(f"M{x:g} {y:g}h{side}v{side}h-{side}z")
    for fill, squares in places.items():
        yield f'<path class="cells" fill="{fill}" d="{"".join(squares)}"/>'


def _legend(figure: Figure, layout: _Layout, scale: float, steps: int) -> Iterator[str]:
    x, y = layout.left, layout.top + len(figure.target) * layout.cell + 24
    side = _LEGEND // steps
    for step in range(steps):
        fill = hexadecimal(step / (steps - 1), figure.measure.paper)
        over = step < steps - 1  # under the next one, so that no seam shows when it is scaled
        place = f'x="{x + step * side:g}" y="{y:g}" width="{side + over}" height="9"'
        yield f'<rect {place} fill="{fill}"/>'
    style = f'class="scale" font-size="{_SMALL}" fill="#57606a"'
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        place = f'{style} text-anchor="{anchor}"'
        yield _text(f"{figure.measure.at(share, scale):g}", x + share * _LEGEND, y + 23, place)
    yield _text(figure.measure.name, x + _LEGEND + 8, y + 8.5, style)
